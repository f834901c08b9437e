//! Pack files as a crash may leave them: opening cuts off what is not whole, and never fails for it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use p2p_drives::Packs;

fuzz_target!(|bytes: &[u8]| {
    let Ok(home) = tempfile::tempdir() else { return };
    let folder = home.path().join("packs");
    if std::fs::create_dir(&folder).is_ok() && std::fs::write(folder.join("0.pack"), bytes).is_ok() {
        let _ = Packs::open(&folder);
    }
});
