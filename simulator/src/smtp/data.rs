//! Where a message behind DATA ends, and what it is without its stuffed dots (RFC 5321 4.5.2).

use std::io::BufRead as _;

/// Takes a message piece by piece. A line ends in CRLF and in nothing else: a bare LF is an octet like any other, so that
/// a dot behind it neither ends the message nor is taken away.
#[derive(Debug)]
pub(super) struct Data {
    octets: Vec<u8>,
    limit: usize,
    too_large: bool,
    place: Place,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    LineStart,
    /// Behind a dot at the start of a line, which has not been kept.
    Dot,
    /// Behind that and a CR, which has not been kept either.
    DotCr,
    Within,
}

impl Data {
    pub(super) fn new(limit: usize) -> Self {
        Self { octets: Vec::new(), limit, too_large: false, place: Place::LineStart }
    }

    /// How much of the piece belongs to the message if it ends therein.
    pub(super) fn eat(&mut self, piece: &[u8]) -> Option<usize> {
        let mut rest = piece;
        while let Some(&next) = rest.first() {
            match (self.place, next) {
                (Place::LineStart, b'.') => (self.place, rest) = (Place::Dot, &rest[1..]),
                (Place::Dot, b'\r') => (self.place, rest) = (Place::DotCr, &rest[1..]),
                (Place::DotCr, b'\n') => return Some(piece.len() - rest.len() + 1),
                (Place::DotCr, _) => {
                    self.octets.push(b'\r');
                    self.place = Place::Within;
                }
                (Place::LineStart | Place::Dot, _) => self.place = Place::Within,
                (Place::Within, _) => self.eat_line(&mut rest),
            }
        }
        None
    }

    /// `None` if it was larger than the limit.
    pub(super) fn into_octets(self) -> Option<Vec<u8>> {
        (!self.too_large && self.octets.len() <= self.limit).then_some(self.octets)
    }

    fn eat_line(&mut self, rest: &mut &[u8]) {
        // Faster than a search octet by octet, above all without optimization.
        rest.read_until(b'\n', &mut self.octets).expect("a slice can be read");
        if self.octets.ends_with(b"\r\n") {
            self.place = Place::LineStart;
        }
        if self.octets.len() > self.limit {
            self.too_large = true;
        }
        if self.too_large {
            // The end is still to be found: the last octet may be a CR.
            self.octets.drain(..self.octets.len().saturating_sub(1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The message and what is left, cut into pieces of every size.
    fn read(input: &[u8], limit: usize) -> Option<(Option<Vec<u8>>, usize)> {
        let mut outcomes = (1..=input.len()).map(|size| {
            let mut data = Data::new(limit);
            let mut before = 0;
            for piece in input.chunks(size) {
                if let Some(eaten) = data.eat(piece) {
                    return Some((data.into_octets(), before + eaten));
                }
                before += piece.len();
            }
            None
        });
        let first = outcomes.next().unwrap();
        assert!(outcomes.all(|outcome| outcome == first), "{input:?}");
        first
    }

    fn whole(input: &[u8]) -> Option<Vec<u8>> {
        let (message, end) = read(input, 1000)?;
        assert_eq!(end, input.len(), "{input:?}");
        message
    }

    #[test]
    fn dots_at_the_start_of_a_line_are_taken_away() {
        assert_eq!(whole(b"..\r\na.b\r\n...\r\n.c\r\n.\r\n").unwrap(), b".\r\na.b\r\n..\r\nc\r\n");
        assert_eq!(whole(b".\r\n").unwrap(), b"");
        assert_eq!(whole(b"\r\n.\r\n").unwrap(), b"\r\n");
    }

    #[test]
    fn only_crlf_ends_a_line() {
        assert_eq!(whole(b"a\n.\n.\r\nb\r.\rc\r\n.\r\n").unwrap(), b"a\n.\n.\r\nb\r.\rc\r\n");
        assert_eq!(whole(b".\r\r\n.\n\r\n.\r\n").unwrap(), b"\r\r\n\n\r\n");
        assert_eq!(read(b"a\n.\n", 1000), None);
        assert_eq!(read(b"a\r\n.\n", 1000), None);
    }

    #[test]
    fn what_follows_is_not_eaten() {
        assert_eq!(read(b"a\r\n.\r\nQUIT\r\n", 1000), Some((Some(b"a\r\n".to_vec()), 6)));
    }

    #[test]
    fn the_end_of_what_is_too_large_is_found() {
        let input = b"one\r\n..two\r\n.\r\nQUIT\r\n";
        assert_eq!(read(input, 11), Some((Some(b"one\r\n.two\r\n".to_vec()), 15)));
        assert_eq!(read(input, 10), Some((None, 15)));
        assert_eq!(read(input, 0), Some((None, 15)));
    }
}
