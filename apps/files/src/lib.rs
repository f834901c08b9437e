//! Share and clone: a folder on disk and a drive.
