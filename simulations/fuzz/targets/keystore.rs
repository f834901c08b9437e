//! The keystore file: a damaged one is an error, and its parameters never take memory.
#![no_main]

use libfuzzer_sys::fuzz_target;
use p2p_identity::Keystore;
use std::os::unix::fs::PermissionsExt;

fuzz_target!(|bytes: &[u8]| {
    let Ok(home) = tempfile::tempdir() else { return };
    let path = home.path().join("keystore");
    if std::fs::write(&path, bytes).is_ok() {
        let _ = std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600));
        let _ = Keystore::open_or_create(home.path());
    }
});
