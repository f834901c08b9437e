//! Percent-encoding of paths and query values.

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

/// Everything but the unreserved characters of RFC 3986.
const COMPONENT: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'!')
    .add(b'"')
    .add(b'#')
    .add(b'$')
    .add(b'%')
    .add(b'&')
    .add(b'\'')
    .add(b'(')
    .add(b')')
    .add(b'*')
    .add(b'+')
    .add(b',')
    .add(b'/')
    .add(b':')
    .add(b';')
    .add(b'<')
    .add(b'=')
    .add(b'>')
    .add(b'?')
    .add(b'@')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');
/// The same, but `/` stays.
const PATH: &AsciiSet = &COMPONENT.remove(b'/');

/// A query value, or one component of a path.
pub fn encode_component(text: &str) -> String {
    utf8_percent_encode(text, COMPONENT).to_string()
}

/// A path of several components; its slashes stay.
pub fn encode_path(path: &str) -> String {
    utf8_percent_encode(path, PATH).to_string()
}

/// The first value of `name` in a query string, decoded. `None` where it is missing or no UTF-8.
pub fn query_value(query: &str, name: &str) -> Option<String> {
    let value = query.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (key == name).then_some(value)
    })?;
    let spaced = value.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8().ok().map(|text| text.into_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_value_survives_a_query(value in "\\PC{0,40}") {
            let query = format!("first=1&which={}&last", encode_component(&value));
            prop_assert_eq!(query_value(&query, "which"), Some(value));
        }

        #[test]
        fn any_query_is_read_or_refused(query in "\\PC{0,40}|[a=&%+0-9f]{0,40}") {
            let _ = query_value(&query, "a");
        }
    }

    #[test]
    fn missing_values_are_none() {
        assert_eq!(query_value("", "a"), None);
        assert_eq!(query_value("ab=1", "a"), None);
        assert_eq!(query_value("a=%ff", "a"), None);
        assert_eq!(query_value("a", "a"), Some(String::new()));
    }

    #[test]
    fn slashes_stay_in_paths_only() {
        assert_eq!(encode_path("a b/ü?.txt"), "a%20b/%C3%BC%3F.txt");
        assert_eq!(encode_component("a/b"), "a%2Fb");
    }
}
