//! The four engines: one suite of rules for all (`conformance`), each cut off at every step of its medium (`cuts`), on hosts whose
//! loaders are played by little models that share no code with the engines (`loaders`); and the real GRUB tools and RAUC (`real`).

mod bench;
mod conformance;
mod cut;
mod cuts;
mod fake_rauc;
mod loaders;
mod real;
mod refusals;
