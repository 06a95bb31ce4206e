//! What is made of a real Pacemaker's words (`tests/pacemaker/` has them as they were captured), and of a fake one's.

mod acts;
mod fake;
mod judged;
