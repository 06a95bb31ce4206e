//! The package store from outside: one binary, so that it links once.

#![cfg(test)]

mod attributes;
mod common;
mod craft;
mod extracting;
mod hostile;
mod keeping;
mod roundtrip;
