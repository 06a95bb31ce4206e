//! The package store from outside: one binary, so that it links once.

#![cfg(test)]

mod common;
mod roundtrip;
