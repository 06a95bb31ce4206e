//! The package store from outside: one binary, so that it links once.

#![cfg(test)]

mod attributes;
mod brought;
mod common;
mod craft;
mod extracting;
mod firmware;
mod firmware_any;
mod firmware_table;
mod following;
mod hostile;
mod keeping;
mod memory;
mod mutations;
mod replay;
mod resuming;
mod roundtrip;
mod scrubbing;
mod table;
mod zips;
