//! What an app sends to the local socket: lines of JSON, ranges, queries.
#![no_main]

use libfuzzer_sys::fuzz_target;
use p2p_api::wire::{ByteRange, LineSplitter, parse_line, query_value};
use p2p_api::{Change, Follow, NewDrive, Open};

fuzz_target!(|bytes: &[u8]| {
    let _ = parse_line::<Change>(bytes);
    let _ = parse_line::<Follow>(bytes);
    let _ = parse_line::<NewDrive>(bytes);
    let _ = parse_line::<Open>(bytes);
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = ByteRange::from_header(text).and_then(|range| range.within(1_000));
        let _ = query_value(text, "a");
    }
    let mut splitter = LineSplitter::new(1_024);
    for piece in bytes.chunks(7) {
        splitter.push(piece);
        while let Ok(Some(line)) = splitter.next_line() {
            assert!(line.len() <= 1_024);
        }
    }
});
