//! How one process tells another on its machine where a file in memory is. Opens nothing.

use crate::wire;

/// Bytes of the secret.
pub const SECRET_BYTES: usize = 16;

/// How to open a process's shared file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// The process, on its machine.
    pub pid: u32,
    /// Its descriptor of the file.
    pub descriptor: u32,
    /// What the file begins with.
    pub secret: [u8; SECRET_BYTES],
    /// How long the file is.
    pub bytes: u64,
}

impl Ticket {
    /// As part of a message.
    pub fn into_wire(self) -> wire::Ticket {
        let Ticket { pid, descriptor, secret, bytes } = self;
        wire::Ticket { pid, descriptor, secret: secret.to_vec().into(), bytes }
    }

    /// Checks a part of a message; `None` if it cannot be one.
    pub fn from_wire(ticket: &wire::Ticket) -> Option<Ticket> {
        let secret = ticket.secret.as_ref().try_into().ok()?;
        let wire::Ticket { pid, descriptor, bytes, .. } = *ticket;
        Some(Ticket { pid, descriptor, secret, bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_survives_a_message_and_a_short_secret_is_none() {
        let ticket = Ticket { pid: 1, descriptor: 2, secret: [3; SECRET_BYTES], bytes: 4 };
        let sent = ticket.clone().into_wire();
        assert_eq!(Ticket::from_wire(&sent), Some(ticket));
        let short = wire::Ticket { secret: vec![1; 15].into(), ..sent };
        assert_eq!(Ticket::from_wire(&short), None);
    }
}
