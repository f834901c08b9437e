//! How deep JSON goes, found without parsing it: a parser of untrusted JSON recurses.

/// Whether arrays and objects are nested deeper than `max` levels. Says nothing about whether the JSON is valid.
pub fn is_nested_deeper(json: &[u8], max: usize) -> bool {
    let mut depth = 0_usize;
    let mut in_string = false;
    let mut escaped = false;
    for byte in json {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'[' | b'{' => {
                depth += 1;
                if depth > max {
                    return true;
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn depth_of(value: &Value) -> usize {
        match value {
            Value::Array(items) => 1 + items.iter().map(depth_of).max().unwrap_or(0),
            Value::Object(fields) => 1 + fields.values().map(depth_of).max().unwrap_or(0),
            _ => 0,
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf =
            prop_oneof![Just(Value::Null), any::<u32>().prop_map(Value::from), "\\PC{0,8}".prop_map(Value::from)];
        leaf.prop_recursive(6, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[\\[\\]{}\"\\\\]{0,4}", inner, 0..4)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_depth_is_that_of_the_parsed_value(value in any_json()) {
            let (text, depth) = (value.to_string(), depth_of(&value));
            prop_assert!(!is_nested_deeper(text.as_bytes(), depth));
            if depth > 0 {
                prop_assert!(is_nested_deeper(text.as_bytes(), depth - 1));
            }
        }
    }

    #[test]
    fn brackets_in_strings_do_not_count() {
        assert!(!is_nested_deeper(br#"["[[[\"[[[", "]"]"#, 1));
        assert!(is_nested_deeper(br#"["\\", []]"#, 1));
    }
}
