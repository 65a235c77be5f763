//! Where does a line or a literal end? Units are cut out of whatever chunks the network delivers, and what was read too
//! far is handed on unharmed.

use bytes::{Bytes, BytesMut};

/// The longest line that is taken from a client before login, without its line end. RFC 9051, 4 asks for 8,192 octets;
/// an AUTHENTICATE line with an initial response may hold more.
pub const MAX_LINE: usize = 16 * 1024;

/// The longest literal that is taken before login: only user names, passwords and ID fields come in literals then.
pub const MAX_LITERAL: usize = 8 * 1024;

/// The longest line that is taken from an upstream before login.
pub const MAX_UPSTREAM_LINE: usize = 64 * 1024;

/// Bytes that were read and not yet heard, cut into lines and literals.
///
/// Holds at most one limit's worth and what one read brought, as long as its owner asks for a unit before it reads again.
#[derive(Debug)]
pub struct Framer {
    buffer: BytesMut,
    /// No LF stands before this position: a line that trickles in is searched once, not once per byte.
    searched: usize,
    limit: usize,
}

/// A line is longer than the limit. What follows it cannot be told from its rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the line is longer than {limit} octets")]
pub struct LineTooLong {
    /// The limit in octets.
    pub limit: usize,
}

impl Framer {
    /// An empty framer for lines of at most `limit` octets.
    pub fn new(limit: usize) -> Self {
        Self { buffer: BytesMut::new(), searched: 0, limit }
    }

    /// Where the next read is to be appended.
    pub fn buffer_mut(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// Whether nothing is left that was read and not heard.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// The next literal of `literal` octets, or where there is none, the next line without its line end; `None` if more
    /// must be read first. A line ends in CRLF, or in a bare LF, which scripts and old devices send.
    ///
    /// # Errors
    /// [`LineTooLong`], after which this framer is of no further use.
    pub fn unit(&mut self, literal: Option<usize>) -> Result<Option<Bytes>, LineTooLong> {
        match literal {
            Some(octets) if self.buffer.len() < octets => Ok(None),
            Some(octets) => {
                self.searched = 0;
                Ok(Some(self.buffer.split_to(octets).freeze()))
            }
            None => self.line(),
        }
    }

    fn line(&mut self) -> Result<Option<Bytes>, LineTooLong> {
        let found = self.buffer[self.searched..].iter().position(|&octet| octet == b'\n').map(|at| self.searched + at);
        let Some(end) = found else {
            self.searched = self.buffer.len();
            // One octet more than the limit may be the CR of a line end that is still on its way.
            return if self.buffer.len() > self.limit + 1 { Err(self.too_long()) } else { Ok(None) };
        };
        self.searched = 0;
        let mut line = self.buffer.split_to(end + 1);
        line.truncate(end);
        if line.last() == Some(&b'\r') {
            line.truncate(end - 1);
        }
        if line.len() > self.limit { Err(self.too_long()) } else { Ok(Some(line.freeze())) }
    }

    fn too_long(&self) -> LineTooLong {
        LineTooLong { limit: self.limit }
    }

    /// Forgets what was read and not heard: plaintext from before TLS is never trusted after it.
    pub fn discard(&mut self) {
        self.buffer.clear();
        self.searched = 0;
    }

    /// What was read and not heard: it belongs to whoever comes next.
    pub fn into_residual(self) -> BytesMut {
        self.buffer
    }
}

#[cfg(test)]
mod tests {
    use super::{Framer, LineTooLong};

    #[test]
    fn lines_and_literals_come_out_of_any_chunking() {
        let input = b"one\r\ntwo\n{5}\r\na\r\nbc\r\n\r\nleft";
        for chunk in 1..=input.len() {
            let mut framer = Framer::new(10);
            let mut units = Vec::new();
            for bytes in input.chunks(chunk) {
                framer.buffer_mut().extend_from_slice(bytes);
                while let Some(unit) = {
                    let literal = (units.last().map(Vec::as_slice) == Some(b"{5}")).then_some(5);
                    framer.unit(literal).expect("within the limit")
                } {
                    units.push(unit.to_vec());
                }
            }
            assert_eq!(units, [&b"one"[..], b"two", b"{5}", b"a\r\nbc", b"", b""], "chunks of {chunk}");
            assert_eq!(framer.into_residual(), &b"left"[..]);
        }
    }

    #[test]
    fn a_line_is_taken_up_to_the_limit_and_not_beyond() {
        for (input, expected) in [
            (&b"12345\r\n"[..], Ok(true)),
            (b"12345\n", Ok(true)),
            (b"12345\r", Ok(false)),
            (b"123456", Ok(false)),
            (b"123456\r\n", Err(LineTooLong { limit: 5 })),
            (b"1234567", Err(LineTooLong { limit: 5 })),
        ] {
            let mut framer = Framer::new(5);
            framer.buffer_mut().extend_from_slice(input);
            assert_eq!(framer.unit(None).map(|line| line.is_some()), expected, "{input:?}");
        }
    }
}
