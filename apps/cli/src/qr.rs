//! QR codes for the terminal: two rows of dots in each line of text.

use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};

/// A code of at most version 10 with a quiet zone around it, dark on light also where the terminal is dark. `None`: the text
/// is too long for one.
pub(crate) fn render(text: &str) -> Option<String> {
    let code = QrCode::with_error_correction_level(text, EcLevel::M).ok()?;
    Some(code.render::<Dense1x2>().dark_color(Dense1x2::Dark).light_color(Dense1x2::Light).build())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_invite_is_a_code_of_version_10_at_most() {
        let text = format!("P2PN:1:{}", "A".repeat(288));
        let code = QrCode::with_error_correction_level(&text, EcLevel::M).unwrap();
        assert!(code.width() <= 57, "{}", code.width());
        let shown = render(&text).unwrap();
        // 57 dots and a quiet zone of 4 on each side, two rows a line.
        assert_eq!((shown.lines().count(), shown.lines().next().unwrap().chars().count()), (33, 65));
        assert!(render(&"A".repeat(10_000)).is_none());
    }
}
