//! The p2p command line as a library.
