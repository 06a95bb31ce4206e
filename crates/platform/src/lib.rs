//! Traits to the machine, and their backends. No decision reads hardware but through these traits.
//!
//! A [`Platform`] is one node's view of itself: [`Failover`] (its HA engine), [`BootSlots`], [`Power`],
//! [`Addresses`], [`Inventory`]. What carries firmware is behind [`devices`], and [`wire`] is how all of it is asked of another process. Every call is bounded by its backend and safe to repeat; calls that act
//! compare first and refuse with a reason when what they expect is not so.

mod traits;

pub mod devices;
pub mod remote;
pub mod sim;
pub mod wire;

pub use traits::{
    Addresses, BootSlots, Failover, GivebackRequest, Inventory, Platform, PlatformError, Power,
    RebootRequest, SharedPlatform, TakeoverRequest,
};
