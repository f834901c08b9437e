//! What a file is, for browsers, by its name. Nothing is guessed from content that could be anything.

use bytes::Bytes;
use mime_guess::Mime;

/// The value of `Content-Type` for a path. `small` are the bytes, where they are at hand.
pub(crate) fn of(path: &str, small: Option<&Bytes>) -> String {
    let name = path.rsplit('/').next().unwrap_or(path);
    match mime_guess::from_path(name).first() {
        Some(media) if is_text(&media) => format!("{media}; charset=utf-8"),
        Some(media) => media.to_string(),
        // LICENSE, README, Makefile: shown rather than saved.
        None if small.is_some_and(|bytes| is_plain(bytes)) => "text/plain; charset=utf-8".to_owned(),
        None => "application/octet-stream".to_owned(),
    }
}

fn is_text(media: &Mime) -> bool {
    let is_script = media.subtype() == mime_guess::mime::JAVASCRIPT;
    media.type_() == mime_guess::mime::TEXT || is_script || media.subtype() == mime_guess::mime::JSON
}

fn is_plain(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| !text.contains('\0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_what_a_file_is() {
        for (path, media) in [
            ("index.html", "text/html; charset=utf-8"),
            ("a/style.css", "text/css; charset=utf-8"),
            ("app.js", "text/javascript; charset=utf-8"),
            ("app.mjs", "application/javascript; charset=utf-8"),
            ("data.json", "application/json; charset=utf-8"),
            ("font.woff2", "font/woff2"),
            ("app.wasm", "application/wasm"),
            ("picture.svg", "image/svg+xml"),
            ("video.mp4", "video/mp4"),
            ("a.html/unknown", "application/octet-stream"),
            ("x.unknown-thing", "application/octet-stream"),
        ] {
            assert_eq!(of(path, None), media, "{path}");
        }
    }

    #[test]
    fn a_nameless_text_is_shown_as_text() {
        assert_eq!(of("LICENSE", Some(&Bytes::from_static(b"free"))), "text/plain; charset=utf-8");
        assert_eq!(of("core", Some(&Bytes::from_static(b"\0\0"))), "application/octet-stream");
        assert_eq!(of("core", Some(&Bytes::from_static(b"\xff"))), "application/octet-stream");
    }
}
