//! The server of the local API (overlay.md 2): HTTP/1.1 and JSON over a unix socket, in front of any
//! [`p2p_api::Node`]. It only translates: paths and bytes into calls, answers and errors into bytes.
//!
//! Dropping a connection drops the stream behind its answer, and with it the work: that is how a client cancels.

mod access;
mod answers;
mod apps;
mod body;
mod caller;
mod closed;
mod drives;
mod events;
mod exchange;
mod files;
mod gate;
mod grants;
mod history;
mod metered;
mod names;
mod network;
mod page;
mod people;
mod picks;
mod problem;
mod room;
mod router;
mod server;
mod socket;
mod streams;
mod upload;
mod writers;

pub use access::Access;
pub(crate) use closed::serve_closed;
pub use server::{Listeners, serve};
pub use socket::{SocketGuard, bind};

#[cfg(test)]
mod tests;
