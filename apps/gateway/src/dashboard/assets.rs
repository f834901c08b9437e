//! Style, script and icon: all that a page loads.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, header};
use maud::{Markup, PreEscaped};

/// Addresses of the assets.
pub(crate) const STYLE: &str = "/style.css";
/// The script.
pub(crate) const SCRIPT: &str = "/live.js";
/// The icon.
pub(crate) const ICON: &str = "/icon.svg";

const STYLE_TEXT: &str = include_str!("assets/style.css");
const SCRIPT_TEXT: &str = include_str!("assets/live.js");
const ICON_TEXT: &str = include_str!("assets/icon.svg");

pub(crate) async fn style() -> Response {
    asset("text/css; charset=utf-8", STYLE_TEXT)
}

pub(crate) async fn script() -> Response {
    asset("text/javascript; charset=utf-8", SCRIPT_TEXT)
}

pub(crate) async fn icon() -> Response {
    asset("image/svg+xml", ICON_TEXT)
}

/// The icon as a part of a page.
pub(crate) fn mark() -> Markup {
    PreEscaped(ICON_TEXT.to_owned())
}

fn asset(media: &'static str, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(media)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    (headers, text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_assets_stay_small() {
        assert!(STYLE_TEXT.len() + SCRIPT_TEXT.len() + ICON_TEXT.len() <= 200 * 1024);
    }

    #[test]
    fn nothing_is_loaded_from_elsewhere() {
        for text in [STYLE_TEXT, SCRIPT_TEXT] {
            assert!(!text.contains("http:") && !text.contains("https:") && !text.contains("url("));
        }
    }
}
