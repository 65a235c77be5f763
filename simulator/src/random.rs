//! Identifiers that nobody can foresee, in the shapes that Microsoft gives them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Random octets from the TLS provider's generator, so that no other is needed.
pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    let mut octets = [0; N];
    crate::ca::provider().secure_random.fill(&mut octets).expect("the system has randomness");
    octets
}

/// `N` random octets in base64url without padding, as in `kid`, `uti` and `rh`.
pub(crate) fn base64url<const N: usize>() -> String {
    URL_SAFE_NO_PAD.encode(bytes::<N>())
}

/// A version 4 UUID (RFC 9562), lower case.
pub(crate) fn guid() -> String {
    let mut octets: [u8; 16] = bytes();
    octets[6] = octets[6] & 0x0f | 0x40;
    octets[8] = octets[8] & 0x3f | 0x80;
    let hex: String = octets.iter().map(|octet| format!("{octet:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_guid_has_its_version_and_shape() {
        let guid = super::guid();
        let lengths: Vec<usize> = guid.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12]);
        assert_eq!(guid.as_bytes()[14], b'4');
        assert_ne!(guid, super::guid());
    }
}
