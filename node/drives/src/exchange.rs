//! The conversation between two nodes about one drive (specs/drives.md, section 16).
//!
//! [`wire`] says what is said, [`codec`] turns it into bytes and back, [`frame`] moves those over a stream.

pub mod bounded;
pub mod codec;
pub mod frame;
pub mod wire;
