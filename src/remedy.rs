//! What can an administrator do when Exchange Online does not open a mailbox? One sentence behind the mail server's own
//! words, with the cmdlet that mends it.

use crate::protocol::{Protocol, Refusal, Rejection};

/// The sentence, with a dash before it; empty where there is nothing to do but wait.
pub(crate) fn remedy(protocol: Protocol, rejection: &Rejection) -> String {
    let (role, switch) = match protocol {
        Protocol::Imap => ("IMAP.AccessAsApp", "-ImapEnabled $true"),
        Protocol::Pop3 => ("POP.AccessAsApp", "-PopEnabled $true"),
        Protocol::Smtp => ("SMTP.SendAsApp", "-SmtpClientAuthenticationDisabled $false"),
    };
    let said = rejection.said.as_str();
    if said.contains("disabled for the Tenant") {
        return String::from(
            " -- SMTP AUTH is off for the whole organization: Set-TransportConfig -SmtpClientAuthenticationDisabled $false, \
             or for this mailbox alone Set-CASMailbox -SmtpClientAuthenticationDisabled $false",
        );
    }
    if said.contains("disabled for the Mailbox") {
        return format!(" -- SMTP AUTH is off for this mailbox: Set-CASMailbox {switch}");
    }
    if said.contains("not connected") {
        return format!(
            " -- the token was taken, the mailbox was not opened: FullAccess is missing (Add-MailboxPermission) or does \
             not work yet, the protocol is off (Set-CASMailbox {switch}), that is not the mailbox's primary address, or \
             it has too many connections"
        );
    }
    if said.contains("Concurrent connections") {
        return String::from(
            " -- Exchange takes three connections a mailbox: fewer devices at once, or more mailboxes",
        );
    }
    if rejection.why != Refusal::Mailbox {
        return String::new();
    }
    format!(
        " -- in this order: does the app have the application permission {role} with admin consent; was \
         New-ServicePrincipal given the Object ID of the enterprise application; has it FullAccess \
         (Add-MailboxPermission); is the protocol on (Set-CASMailbox {switch}); is that the mailbox's primary address"
    )
}

#[cfg(test)]
mod tests {
    use super::remedy;
    use crate::protocol::{Protocol, Refusal, Rejection};

    #[test]
    fn the_cmdlet_that_mends_it_is_named() {
        for (protocol, why, said, cmdlet) in [
            (Protocol::Imap, Refusal::Mailbox, "P1 NO AUTHENTICATE failed.", "Set-CASMailbox -ImapEnabled $true"),
            (
                Protocol::Imap,
                Refusal::UpstreamUnavailable,
                "P1 NO User is authenticated but not connected.",
                "Add-MailboxPermission",
            ),
            (
                Protocol::Pop3,
                Refusal::Mailbox,
                "-ERR Authentication failure: unknown user name or bad password.",
                "POP.AccessAsApp",
            ),
            (
                Protocol::Smtp,
                Refusal::Mailbox,
                "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant.",
                "Set-TransportConfig -SmtpClientAuthenticationDisabled $false",
            ),
            (
                Protocol::Smtp,
                Refusal::Mailbox,
                "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Mailbox.",
                "for this mailbox: Set-CASMailbox -SmtpClientAuthenticationDisabled $false",
            ),
            (Protocol::Smtp, Refusal::Mailbox, "535 5.7.3 Authentication unsuccessful", "SMTP.SendAsApp"),
            (
                Protocol::Smtp,
                Refusal::MailboxInUse,
                "432 4.3.2 Concurrent connections limit exceeded.",
                "three connections",
            ),
        ] {
            let sentence = remedy(protocol, &Rejection { why, said: said.to_owned() });
            assert!(sentence.contains(cmdlet), "{said}: {sentence}");
        }
        let passing = Rejection { why: Refusal::UpstreamUnavailable, said: "421 4.3.2 Service not available".into() };
        assert_eq!(remedy(Protocol::Smtp, &passing), "");
    }
}
