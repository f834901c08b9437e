//! Which router leads out of here.

use std::net::Ipv4Addr;

/// Most of the kernel's routing table that is read, in bytes: some thousand routes. The default route stands first.
#[cfg(target_os = "linux")]
const MAX_TABLE_BYTES: u64 = 256 * 1024;

/// The router of the default route of IPv4; `None` where there is none, or where the system does not tell.
#[cfg(target_os = "linux")]
pub(super) fn default_gateway() -> Option<Ipv4Addr> {
    use std::io::Read;

    let mut table = String::new();
    std::fs::File::open("/proc/net/route").ok()?.take(MAX_TABLE_BYTES).read_to_string(&mut table).ok()?;
    in_table(&table)
}

/// Only Linux is asked so far; UPnP, which needs no router's address, does its part elsewhere.
#[cfg(not(target_os = "linux"))]
pub(super) fn default_gateway() -> Option<Ipv4Addr> {
    None
}

/// The gateway of the default route with the lowest metric in a table of the form of `/proc/net/route`.
#[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "the table is Linux's"))]
fn in_table(table: &str) -> Option<Ipv4Addr> {
    /// The route is up, and leads over a gateway.
    const UP_AND_GATEWAY: u32 = 0x1 | 0x2;
    let route = |line: &str| {
        let mut columns = line.split_ascii_whitespace().skip(1);
        let hex = |text: &str| u32::from_str_radix(text, 16).ok();
        let (destination, gateway) = (hex(columns.next()?)?, hex(columns.next()?)?);
        let flags = hex(columns.next()?)?;
        let metric: u32 = columns.nth(2)?.parse().ok()?;
        let mask = hex(columns.next()?)?;
        let is_default = destination == 0 && mask == 0 && flags & UP_AND_GATEWAY == UP_AND_GATEWAY;
        // The table shows the bytes in the order in which they lie in memory.
        is_default.then(|| (metric, Ipv4Addr::from(gateway.to_ne_bytes())))
    };
    table.lines().filter_map(route).min().map(|(_, gateway)| gateway)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEAD: &str = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n";

    fn line(interface: &str, destination: u32, gateway: Ipv4Addr, flags: u32, metric: u32, mask: u32) -> String {
        let gateway = u32::from_ne_bytes(gateway.octets());
        format!("{interface}\t{destination:08X}\t{gateway:08X}\t{flags:04X}\t0\t0\t{metric}\t{mask:08X}\t0\t0\t0\n")
    }

    #[test]
    fn the_default_route_with_the_lowest_metric_counts() {
        let [near, far] = [Ipv4Addr::new(192, 168, 50, 1), Ipv4Addr::new(10, 0, 0, 1)];
        let table = [
            HEAD.to_owned(),
            line("wlan0", 0, far, 3, 600, 0),
            line("eth0", 0, near, 3, 100, 0),
            line("tun0", 0, far, 3, 0, 1),
            line("eth1", 0, far, 2, 0, 0),
            line("eth0", 1, Ipv4Addr::UNSPECIFIED, 1, 0, 0xff),
        ];
        assert_eq!(in_table(&table.concat()), Some(near));
        assert_eq!(in_table(HEAD), None);
    }

    proptest! {
        #[test]
        fn any_table_is_read_without_a_panic(table in "[ -~\t\n]{0,400}") {
            let _ = in_table(&table);
        }
    }
}
