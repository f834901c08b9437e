//! The resolvers of this computer.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

/// Where the system says so.
pub(super) const FILE: &str = "/etc/resolv.conf";
/// Largest such file that is read, in bytes.
const MAX_FILE_BYTES: u64 = 64 * 1024;
/// Resolvers used, as many as the C library uses.
const MAX_RESOLVERS: usize = 3;

/// The resolvers that a file names, asked at `port`. Read anew each time: they change with the network this computer is in.
pub(super) async fn resolvers(file: &Path, port: u16) -> Vec<SocketAddr> {
    let file = file.to_owned();
    let read = tokio::task::spawn_blocking(move || {
        use std::io::Read;
        let mut text = String::new();
        std::fs::File::open(file)?.take(MAX_FILE_BYTES).read_to_string(&mut text).map(|_| text)
    });
    match read.await {
        Ok(Ok(text)) => parse(&text, port),
        _ => Vec::new(),
    }
}

fn parse(text: &str, port: u16) -> Vec<SocketAddr> {
    let server = |line: &str| {
        let mut words = line.split_whitespace();
        (words.next()? == "nameserver").then_some(())?;
        // Scopes of link-local addresses are left out: such a server is not reached without.
        words.next()?.parse::<IpAddr>().ok()
    };
    text.lines().filter_map(server).take(MAX_RESOLVERS).map(|ip| SocketAddr::new(ip, port)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_three_nameservers_are_asked() {
        let text = "# nameserver 192.0.2.1\nsearch lan\nnameserver 192.0.2.2\nnameserver\t::1 \nnameserver x\nnameserver 192.0.2.3\nnameserver 192.0.2.4\n";
        let expected = ["192.0.2.2:53", "[::1]:53", "192.0.2.3:53"].map(|text| text.parse().expect("an address"));
        assert_eq!(parse(text, 53), expected);
    }
}
