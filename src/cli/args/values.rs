//! Values of arguments: what is taken for an address, a host, a number of seconds. No file, no socket.

/// Longest address that workers are told.
const ADDRESS_BYTES_MAX: usize = 240;

/// Whether the host is one, and one of this machine's, is found out by listening.
pub(super) fn address(text: &str) -> Result<String, String> {
    match text.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => Ok(text.into()),
        _ => Err("wanted HOST:PORT, the port from 0 to 65535".into()),
    }
}

pub(super) fn host_or_address(text: &str) -> Result<String, String> {
    let is_odd = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | '@');
    let is_too_long = text.len() > ADDRESS_BYTES_MAX;
    let port = text.rsplit_once(':').filter(|(host, _)| !host.contains(':') || host.ends_with(']'));
    match port {
        _ if text.is_empty() || text.contains(is_odd) || is_too_long => {
            Err(format!("found {text:?}, wanted HOST or HOST:PORT"))
        }
        Some((host, port))
            if host.is_empty() || !port.parse::<u16>().is_ok_and(|port| port > 0) =>
        {
            Err("wanted HOST or HOST:PORT, the port from 1 to 65535".into())
        }
        _ => Ok(text.into()),
    }
}

pub(super) fn host(text: &str) -> Result<String, String> {
    let is_odd = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '\'' | '"' | '\\');
    match text.is_empty() || text.starts_with('-') || text.contains(is_odd) {
        true => Err(format!("found {text:?}, wanted HOST or USER@HOST")),
        false => Ok(text.into()),
    }
}

/// A value of a line of a batch script.
pub(super) fn slurm_word(text: &str) -> Result<String, String> {
    let is_fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, ':' | '-' | '_' | '.' | ',');
    match !text.is_empty() && text.chars().all(is_fine) {
        true => Ok(text.into()),
        false => Err(format!("found {text:?}, wanted letters, digits, and any of : - _ . ,")),
    }
}

pub(super) fn seconds(text: &str) -> Result<f64, String> {
    let wanted = || format!("found {text:?}, wanted a number of seconds from 0 to 1e6");
    let seconds: f64 = text.parse().map_err(|_| wanted())?;
    if (0.0..=1e6).contains(&seconds) { Ok(seconds) } else { Err(wanted()) }
}
