//! Newer versions that exist and that nobody here offers, in words.

use p2p_api::DriveInfo;

use crate::console::Console;
use crate::human::printable;

/// Says what is missed, if anything is.
pub(crate) fn note(console: &mut Console, info: &DriveInfo) {
    for line in lines(info) {
        console.note(line);
    }
}

/// One sentence for each writer.
pub(crate) fn lines(info: &DriveInfo) -> Vec<String> {
    let line = |missed: &p2p_api::WithheldVersion| {
        let held = match missed.held {
            0 => "none is here".to_owned(),
            held => format!("{held} is here"),
        };
        let writer = if missed.writer_key.as_bytes() == info.drive.as_bytes() {
            "the owner".to_owned()
        } else {
            missed.writer_key.to_string()
        };
        format!("A newer version by {writer} exists ({}; {held}), nobody here offers it.", missed.counter)
    };
    info.withheld.iter().map(|missed| printable(&line(missed))).collect()
}

#[cfg(test)]
mod tests {
    use p2p_api::{DriveRole, WithheldVersion};

    use super::*;

    #[test]
    fn what_is_missed_is_told_by_writer() {
        let missed = |writer: u8, held| WithheldVersion {
            writer_key: [writer; 32].into(),
            counter: 5,
            held,
            named_by: [3; 32].into(),
        };
        let info = DriveInfo {
            drive: [1; 32].into(),
            link: String::new(),
            path: None,
            role: DriveRole::Reader,
            version: 4,
            head: None,
            files: 0,
            bytes: 0,
            peers: 1,
            complete: false,
            title: String::new(),
            syncs: false,
            withheld: vec![missed(1, 4), missed(2, 0)],
        };
        let lines = lines(&info);
        assert_eq!(lines[0], "A newer version by the owner exists (5; 4 is here), nobody here offers it.");
        assert!(lines[1].ends_with("exists (5; none is here), nobody here offers it."), "{}", lines[1]);
    }
}
