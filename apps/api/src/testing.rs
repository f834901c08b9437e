//! For tests of apps and of implementations of the contract (feature `testing`).
//!
//! [`FakeNode`] is a node in memory, without any network, over real folders. [`conformance::run`] is what every
//! implementation passes: the engine, the client of the socket, the fake.

// Everything here fails by panicking: that is what a test does.
#![allow(clippy::missing_panics_doc)]

pub mod conformance;
mod fake;

pub use fake::FakeNode;
