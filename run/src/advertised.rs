//! Where workers are told that a coordinator is.

use std::net::{IpAddr, SocketAddr};

/// Most addresses that are found out for a join line.
const FOUND_MAX: usize = 4;

/// What workers are told: what the user has given, or the address that is listened on; of all addresses, those of this
/// machine that others may reach.
pub fn advertised_addresses(address: SocketAddr, given: &[String]) -> Vec<String> {
    if !given.is_empty() {
        let with_port = |given: &String| match given.strip_suffix(":0") {
            Some(host) => format!("{host}:{}", address.port()),
            None => given.clone(),
        };
        return given.iter().map(with_port).collect();
    }
    if !address.ip().is_unspecified() {
        return vec![address.to_string()];
    }
    let takes = |ip: &IpAddr| match ip {
        IpAddr::V4(ip) => !ip.is_loopback() && !ip.is_link_local(),
        IpAddr::V6(ip) => address.is_ipv6() && !ip.is_loopback() && !ip.is_unicast_link_local(),
    };
    let mut found: Vec<IpAddr> = own_addresses().into_iter().filter(takes).collect();
    found.sort_by_key(IpAddr::is_ipv6);
    found.dedup();
    found.truncate(FOUND_MAX);
    match found.is_empty() {
        true => vec![format!("{}:{}", crate::host_name(), address.port())],
        false => {
            found.into_iter().map(|ip| SocketAddr::new(ip, address.port()).to_string()).collect()
        }
    }
}

/// The addresses of this machine, as far as the system says.
fn own_addresses() -> Vec<IpAddr> {
    let interfaces = nix::ifaddrs::getifaddrs().into_iter().flatten();
    let address = |interface: nix::ifaddrs::InterfaceAddress| {
        let storage = interface.address?;
        let v4 = storage.as_sockaddr_in().map(|address| address.ip().into());
        v4.or_else(|| storage.as_sockaddr_in6().map(|address| address.ip().into()))
    };
    interfaces.filter_map(address).collect()
}
