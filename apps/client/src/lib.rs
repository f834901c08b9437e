//! The app contract over the local socket.
