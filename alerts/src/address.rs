//! Which addresses a webhook may be sent to.
//!
//! A URL comes from whoever configures an endpoint; what it names must not become a way into the
//! network that Millpond runs in (server-side request forgery). This module is a table and nothing
//! else: it neither resolves nor connects.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A class of addresses that is refused: network, prefix length, name.
type Class<A> = (A, u32, &'static str);

const fn v4(a: u8, b: u8, c: u8, d: u8) -> Ipv4Addr {
    Ipv4Addr::new(a, b, c, d)
}

/// What IANA's special-purpose registry says is not globally reachable, multicast, and Azure's
/// metadata address, which lies in public space. The first match names the class.
const CLASSES_V4: &[Class<Ipv4Addr>] = &[
    (v4(169, 254, 169, 254), 32, "cloud metadata"),
    (v4(100, 100, 100, 200), 32, "cloud metadata"),
    (v4(168, 63, 129, 16), 32, "cloud metadata"),
    (v4(192, 0, 0, 192), 32, "cloud metadata"),
    (v4(0, 0, 0, 0), 8, "unspecified"),
    (v4(10, 0, 0, 0), 8, "private"),
    (v4(100, 64, 0, 0), 10, "carrier-grade NAT"),
    (v4(127, 0, 0, 0), 8, "loopback"),
    (v4(169, 254, 0, 0), 16, "link-local"),
    (v4(172, 16, 0, 0), 12, "private"),
    (v4(192, 0, 0, 0), 24, "protocol assignment"),
    (v4(192, 0, 2, 0), 24, "documentation"),
    (v4(192, 88, 99, 0), 24, "6to4 relay"),
    (v4(192, 168, 0, 0), 16, "private"),
    (v4(198, 18, 0, 0), 15, "benchmarking"),
    (v4(198, 51, 100, 0), 24, "documentation"),
    (v4(203, 0, 113, 0), 24, "documentation"),
    (v4(224, 0, 0, 0), 4, "multicast"),
    (v4(255, 255, 255, 255), 32, "broadcast"),
    (v4(240, 0, 0, 0), 4, "reserved"),
];

const fn v6(a: u16, b: u16, c: u16) -> Ipv6Addr {
    Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0)
}

/// Ways to write an IPv4 address in IPv6 are refused whole: a public one has no need of them.
const CLASSES_V6: &[Class<Ipv6Addr>] = &[
    (Ipv6Addr::UNSPECIFIED, 128, "unspecified"),
    (Ipv6Addr::LOCALHOST, 128, "loopback"),
    (Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96, "IPv4-mapped"),
    (Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, 0, 0), 96, "IPv4-translated"),
    (Ipv6Addr::UNSPECIFIED, 96, "IPv4-compatible"),
    (v6(0x64, 0xff9b, 0), 96, "NAT64"),
    (v6(0x64, 0xff9b, 1), 48, "NAT64"),
    (v6(0x2001, 0, 0), 32, "Teredo"),
    (v6(0x2001, 0, 0), 23, "protocol assignment"),
    (v6(0x2001, 0xdb8, 0), 32, "documentation"),
    (v6(0x2002, 0, 0), 16, "6to4"),
    (v6(0x3fff, 0, 0), 20, "documentation"),
    (Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), 128, "cloud metadata"),
    (v6(0xfc00, 0, 0), 7, "unique local"),
    (v6(0xfe80, 0, 0), 10, "link-local"),
    (v6(0xfec0, 0, 0), 10, "site-local"),
    (v6(0xff00, 0, 0), 8, "multicast"),
];

/// Global unicast is `2000::/3` today; all the rest is reserved, or one of the above.
const GLOBAL_V6: (Ipv6Addr, u32) = (v6(0x2000, 0, 0), 3);

/// The class for which `address` is refused; `None` if it is a public unicast address.
pub fn refusal(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => {
            let bits = u128::from(address.to_bits()) << 96;
            let in_class = |class: &&Class<Ipv4Addr>| {
                prefix_is(bits, u128::from(class.0.to_bits()) << 96, class.1)
            };
            CLASSES_V4.iter().find(in_class).map(|class| class.2)
        }
        IpAddr::V6(address) => {
            let bits = address.to_bits();
            let in_class = |class: &&Class<Ipv6Addr>| prefix_is(bits, class.0.to_bits(), class.1);
            let reserved = !prefix_is(bits, GLOBAL_V6.0.to_bits(), GLOBAL_V6.1);
            let named = CLASSES_V6.iter().find(in_class).map(|class| class.2);
            named.or(reserved.then_some("reserved"))
        }
    }
}

fn prefix_is(address: u128, network: u128, prefix_bits: u32) -> bool {
    (address ^ network) >> (128 - prefix_bits) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_class_is_refused_from_its_first_address_to_its_last() {
        for (address, class) in [
            ("0.0.0.0", "unspecified"),
            ("0.255.255.255", "unspecified"),
            ("10.0.0.0", "private"),
            ("10.255.255.255", "private"),
            ("100.64.0.0", "carrier-grade NAT"),
            ("100.127.255.255", "carrier-grade NAT"),
            ("100.100.100.200", "cloud metadata"),
            ("127.0.0.1", "loopback"),
            ("127.255.255.255", "loopback"),
            ("169.254.0.1", "link-local"),
            ("169.254.169.254", "cloud metadata"),
            ("169.254.170.2", "link-local"),
            ("168.63.129.16", "cloud metadata"),
            ("172.16.0.0", "private"),
            ("172.31.255.255", "private"),
            ("192.0.0.1", "protocol assignment"),
            ("192.0.0.192", "cloud metadata"),
            ("192.0.2.7", "documentation"),
            ("192.88.99.1", "6to4 relay"),
            ("192.168.0.1", "private"),
            ("192.168.255.255", "private"),
            ("198.18.0.0", "benchmarking"),
            ("198.19.255.255", "benchmarking"),
            ("198.51.100.1", "documentation"),
            ("203.0.113.1", "documentation"),
            ("224.0.0.1", "multicast"),
            ("239.255.255.255", "multicast"),
            ("240.0.0.1", "reserved"),
            ("255.255.255.255", "broadcast"),
            ("::", "unspecified"),
            ("::1", "loopback"),
            ("::127.0.0.1", "IPv4-compatible"),
            ("::8.8.8.8", "IPv4-compatible"),
            ("::ffff:127.0.0.1", "IPv4-mapped"),
            ("::ffff:10.0.0.1", "IPv4-mapped"),
            ("::ffff:8.8.8.8", "IPv4-mapped"),
            ("::ffff:0:169.254.169.254", "IPv4-translated"),
            ("64:ff9b::10.0.0.1", "NAT64"),
            ("64:ff9b::8.8.8.8", "NAT64"),
            ("64:ff9b:1::10.0.0.1", "NAT64"),
            ("100::1", "reserved"),
            ("2001::1", "Teredo"),
            ("2001:2::1", "protocol assignment"),
            ("2001:10::1", "protocol assignment"),
            ("2001:db8::1", "documentation"),
            ("2002:7f00:1::", "6to4"),
            ("2002:808:808::", "6to4"),
            ("3fff::1", "documentation"),
            ("4000::1", "reserved"),
            ("5f00::1", "reserved"),
            ("fc00::1", "unique local"),
            ("fdff:ffff::1", "unique local"),
            ("fd00:ec2::254", "cloud metadata"),
            ("fe80::1", "link-local"),
            ("febf::1", "link-local"),
            ("fec0::1", "site-local"),
            ("ff02::1", "multicast"),
            ("ff0e::1", "multicast"),
        ] {
            assert_eq!(refusal(address.parse().unwrap()), Some(class), "{address}");
        }
    }

    #[test]
    fn public_neighbours_of_the_classes_are_let_through() {
        for address in [
            "1.0.0.0",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "168.63.129.17",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2001:200::1",
            "2606:4700:4700::1111",
            "2a00:1450::1",
            "3ffe::1",
        ] {
            assert_eq!(refusal(address.parse().unwrap()), None, "{address}");
        }
    }
}
