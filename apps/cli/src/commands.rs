//! One file per subcommand of `p2p`.

pub(crate) mod api;
pub(crate) mod app;
pub(crate) mod cat;
pub(crate) mod clone;
pub(crate) mod completions;
pub(crate) mod conflicts;
pub(crate) mod dht;
pub(crate) mod dial;
pub(crate) mod diff;
pub(crate) mod du;
pub(crate) mod gc;
pub(crate) mod info;
pub(crate) mod log;
pub(crate) mod ls;
pub(crate) mod man;
pub(crate) mod name;
pub(crate) mod open;
pub(crate) mod peers;
pub(crate) mod ping;
pub(crate) mod restore;
pub(crate) mod share;
pub(crate) mod shares;
pub(crate) mod sync;
pub(crate) mod tag;
pub(crate) mod unshare;
pub(crate) mod writers;
