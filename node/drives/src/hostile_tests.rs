//! Copying from peers that lie, and serving peers that do (specs/drives.md, 16).
//!
//! All runs in one process, over pipes and on a paused clock: a stall of ten seconds costs nothing.

mod fetching;
mod forged;
mod liar;
pub(crate) mod network;
pub(crate) mod party;
mod serving;
mod uneven;
