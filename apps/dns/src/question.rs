//! Which names are ours (specs/names.md, 12.7).

use hickory_proto::rr::Name;

/// Symbols of a zTLD of either type.
const ZTLD_CHARS: usize = 58;

/// What a queried name is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Question {
    /// A name to be resolved.
    Ours(String),
    /// `gns.alt` itself.
    Top,
    /// Below `.alt`, but of nobody here: never forwarded (RFC 9476).
    OtherAlt,
    /// None of our business.
    Other,
    /// Labels that no name has.
    Bad,
}

impl Question {
    pub(crate) fn of(name: &Name) -> Self {
        let mut labels: Vec<String> = Vec::new();
        for label in name.iter() {
            let Ok(text) = std::str::from_utf8(label) else { return Self::Bad };
            // A dot inside of a label would make two of one.
            if text.contains('.') {
                return Self::Bad;
            }
            labels.push(normalized(text));
        }
        match labels.as_slice() {
            [gns, alt] if gns == "gns" && alt == "alt" => Self::Top,
            [inner @ .., gns, alt] if gns == "gns" && alt == "alt" => Self::Ours(inner.join(".")),
            [.., alt] if alt == "alt" => Self::OtherAlt,
            [.., last] if is_ztld(last) => Self::Ours(labels.join(".")),
            _ => Self::Other,
        }
    }
}

/// DNS does not keep case and writes other scripts as `xn--`: UTS 46 makes one form of all. What it does not take, like
/// `_443`, is only brought to lower case.
fn normalized(label: &str) -> String {
    let (mapped, errors) = idna::domain_to_unicode(label);
    if errors.is_ok() && !mapped.contains('.') { mapped } else { label.to_lowercase() }
}

fn is_ztld(label: &str) -> bool {
    label.len() == ZTLD_CHARS && label.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str) -> Question {
        Question::of(&name.parse().expect("a name"))
    }

    #[test]
    fn ours_are_those_below_gns_alt_and_those_of_a_ztld() {
        let ztld = "000G006K2TJNMD9VTCYRX7BRVV3HAEPS15E6NHDXKPJA1KAJJEG9AFF884";
        let ours = |name: &str| Question::Ours(name.to_lowercase());
        assert_eq!(of("www.alice.gns.alt."), ours("www.alice"));
        assert_eq!(of("WwW.aLiCe.GNS.aLt."), ours("www.alice"));
        assert_eq!(of(&format!("www.{ztld}.gns.alt.")), ours(&format!("www.{ztld}")));
        assert_eq!(of(&format!("www.{ztld}.")), ours(&format!("www.{ztld}")));
        assert_eq!(of("_443._tcp.www.alice.gns.alt."), ours("_443._tcp.www.alice"));
        assert_eq!(of("xn--bcher-kva.alice.gns.alt."), ours("bücher.alice"));
        assert_eq!(of("gns.alt."), Question::Top);
        assert_eq!(of("x.eth.alt."), Question::OtherAlt);
        assert_eq!(of("alt."), Question::OtherAlt);
        assert_eq!(of("www.example.org."), Question::Other);
        assert_eq!(of("."), Question::Other);
    }
}
