//! SVCB and HTTPS (RFC 9460): u16 priority, target name, then parameters u16 key, u16 length, value, keys ascending.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, Ipv6Addr},
};

use data_encoding::BASE64;

use super::{
    dns_name,
    text::{Style, Token, quote, unescape},
};

const MANDATORY: u16 = 0;
const ALPN: u16 = 1;
const NO_DEFAULT_ALPN: u16 = 2;
const PORT: u16 = 3;
const IPV4_HINT: u16 = 4;
const ECH: u16 = 5;
const IPV6_HINT: u16 = 6;
const DOH_PATH: u16 = 7;
const NAMES: [(u16, &str); 8] = [
    (MANDATORY, "mandatory"),
    (ALPN, "alpn"),
    (NO_DEFAULT_ALPN, "no-default-alpn"),
    (PORT, "port"),
    (IPV4_HINT, "ipv4hint"),
    (ECH, "ech"),
    (IPV6_HINT, "ipv6hint"),
    (DOH_PATH, "dohpath"),
];

pub(super) fn to_text(data: &[u8], style: Style) -> Option<String> {
    let (priority, rest) = data.split_first_chunk::<2>()?;
    let (target, mut rest) = dns_name::read(rest)?;
    let mut out = format!("{} {}", u16::from_be_bytes(*priority), dns_name::to_text(&target, style));
    let mut last = None;
    while !rest.is_empty() {
        let (key, behind) = rest.split_first_chunk::<2>()?;
        let (len, behind) = behind.split_first_chunk::<2>()?;
        let (value, behind) = behind.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
        let key = u16::from_be_bytes(*key);
        if last.is_some_and(|last| last >= key) {
            return None;
        }
        out.push(' ');
        out.push_str(&parameter_text(key, value));
        (last, rest) = (Some(key), behind);
    }
    Some(out)
}

/// The parameter by its name if that reads back the same, else by number with its raw bytes.
fn parameter_text(key: u16, value: &[u8]) -> String {
    let raw = || if value.is_empty() { format!("key{key}") } else { format!("key{key}={}", quote(value)) };
    let Some((_, name)) = NAMES.iter().find(|(known, _)| *known == key) else {
        return raw();
    };
    match value_text(key, value) {
        Some(text) if text.is_empty() => (*name).to_owned(),
        Some(text) => format!("{name}={text}"),
        None => raw(),
    }
}

fn value_text(key: u16, value: &[u8]) -> Option<String> {
    let joined = |parts: Vec<String>| (!parts.is_empty()).then(|| parts.join(","));
    match key {
        MANDATORY => {
            let (keys, rest) = value.as_chunks::<2>();
            let keys: Vec<_> = keys.iter().map(|key| u16::from_be_bytes(*key)).collect();
            let good = rest.is_empty() && keys.is_sorted_by(|a, b| a < b);
            good.then(|| joined(keys.into_iter().map(key_name).collect())).flatten()
        }
        ALPN => {
            let (mut parts, mut rest) = (Vec::new(), value);
            while let Some((len, behind)) = rest.split_first() {
                let (id, behind) = behind.split_at_checked(usize::from(*len))?;
                let plain =
                    !id.is_empty() && id.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-./_".contains(byte));
                parts.push(String::from_utf8(id.to_vec()).ok().filter(|_| plain)?);
                rest = behind;
            }
            joined(parts)
        }
        NO_DEFAULT_ALPN => value.is_empty().then(String::new),
        PORT => Some(u16::from_be_bytes(value.try_into().ok()?).to_string()),
        IPV4_HINT => {
            let (addresses, rest) = value.as_chunks::<4>();
            joined(addresses.iter().map(|address| Ipv4Addr::from(*address).to_string()).collect())
                .filter(|_| rest.is_empty())
        }
        IPV6_HINT => {
            let (addresses, rest) = value.as_chunks::<16>();
            joined(addresses.iter().map(|address| Ipv6Addr::from(*address).to_string()).collect())
                .filter(|_| rest.is_empty())
        }
        ECH if !value.is_empty() => Some(BASE64.encode(value)),
        DOH_PATH if !value.is_empty() => std::str::from_utf8(value).ok().map(|path| quote(path.as_bytes())),
        _ => None,
    }
}

pub(super) fn from_tokens(tokens: &[Token<'_>]) -> Result<Vec<u8>, &'static str> {
    let [priority, target, parameters @ ..] = tokens else {
        return Err("a part is missing");
    };
    let mut out = priority.number::<u16>()?.to_be_bytes().to_vec();
    out.extend(dns_name::from_text(target.raw)?);
    let mut found = BTreeMap::new();
    for parameter in parameters {
        let (name, value) = match parameter.raw.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (parameter.raw, None),
        };
        let value = value.map(|value| value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value));
        let (key, bytes) = parameter_bytes(name, value)?;
        if found.insert(key, bytes).is_some() {
            return Err("a parameter is given twice");
        }
    }
    for (key, value) in found {
        out.extend(key.to_be_bytes());
        out.extend(u16::try_from(value.len()).map_err(|_| "a parameter is too long")?.to_be_bytes());
        out.extend(value);
    }
    Ok(out)
}

fn parameter_bytes(name: &str, value: Option<&str>) -> Result<(u16, Vec<u8>), &'static str> {
    let lower = name.to_ascii_lowercase();
    if let Some((key, _)) = NAMES.iter().find(|(_, known)| *known == lower) {
        return Ok((*key, value_bytes(*key, value)?));
    }
    let key = key_of(&lower).ok_or("a parameter has an unknown name")?;
    Ok((key, unescape(value.unwrap_or_default())?))
}

fn value_bytes(key: u16, value: Option<&str>) -> Result<Vec<u8>, &'static str> {
    if key == NO_DEFAULT_ALPN {
        return if value.is_none() { Ok(Vec::new()) } else { Err("no-default-alpn takes no value") };
    }
    let value = value.filter(|value| !value.is_empty()).ok_or("a parameter has no value")?;
    let parts = || value.split(',');
    match key {
        MANDATORY => {
            let mut keys = parts().map(key_of).collect::<Option<Vec<_>>>().ok_or("mandatory names an unknown key")?;
            keys.sort_unstable();
            keys.dedup();
            Ok(keys.into_iter().flat_map(u16::to_be_bytes).collect())
        }
        ALPN => {
            let mut out = Vec::new();
            for id in parts() {
                let id = unescape(id)?;
                let len = u8::try_from(id.len()).ok().filter(|len| *len > 0);
                out.push(len.ok_or("an alpn id has 1 to 255 bytes")?);
                out.extend(id);
            }
            Ok(out)
        }
        PORT => value.parse::<u16>().map(|port| port.to_be_bytes().to_vec()).map_err(|_| "not a port"),
        IPV4_HINT => {
            let addresses = parts().map(str::parse::<Ipv4Addr>).collect::<Result<Vec<_>, _>>();
            Ok(addresses.map_err(|_| "not IPv4 addresses")?.iter().flat_map(Ipv4Addr::octets).collect())
        }
        IPV6_HINT => {
            let addresses = parts().map(str::parse::<Ipv6Addr>).collect::<Result<Vec<_>, _>>();
            Ok(addresses.map_err(|_| "not IPv6 addresses")?.iter().flat_map(Ipv6Addr::octets).collect())
        }
        ECH => BASE64.decode(value.as_bytes()).map_err(|_| "ech is not Base64"),
        _ => unescape(value),
    }
}

fn key_name(key: u16) -> String {
    NAMES.iter().find(|(known, _)| *known == key).map_or_else(|| format!("key{key}"), |(_, name)| (*name).to_owned())
}

fn key_of(name: &str) -> Option<u16> {
    if let Some((key, _)) = NAMES.iter().find(|(_, known)| *known == name) {
        return Some(*key);
    }
    let digits = name.strip_prefix("key")?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}
