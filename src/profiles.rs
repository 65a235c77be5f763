//! Who may come in? A user name and a password decide which mailbox is opened, and by which application.
//!
//! An app-only token opens every mailbox that the application was granted, whoever asks for it. So this check is the
//! security boundary of the whole program: no profile, no entry, and nothing is dialled before it.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use argon2::Argon2;
use argon2::password_hash::rand_core::OsRng;
use argon2::password_hash::{PasswordHash, PasswordHasher as _, PasswordVerifier as _, SaltString};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use tokio::sync::Semaphore;

use crate::protocol::{Credential, Mailbox, Username};
use crate::secret::Secret;

/// A mailbox, or the mailboxes of a domain, and who may open them.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Its key in the configuration: its name in logs.
    pub name: String,
    /// What clients type.
    pub usernames: Vec<UsernamePattern>,
    /// The mailbox that a user name without its own stands for; a domain's user names stand for themselves.
    pub mailbox: Option<Mailbox>,
    /// The application that opens it, by its key in the configuration.
    pub app: String,
    /// Any of these is right. Never empty.
    pub passwords: Vec<Password>,
}

/// What a profile takes for its user name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum UsernamePattern {
    /// This one.
    Exactly(Username),
    /// Any of this domain, written `*@contoso.com`: the mailbox is then what was typed.
    Domain(String),
}

/// What a client's password is checked against.
#[derive(Clone, Debug)]
pub enum Password {
    /// The password itself, from a file or the environment.
    Plain(Secret<Vec<u8>>),
    /// An Argon2 hash in PHC string format.
    Hash(HashedPassword),
}

/// An Argon2 hash that has been read and found well-formed.
#[derive(Clone, Debug)]
pub struct HashedPassword(Secret<String>);

impl HashedPassword {
    /// Reads a hash in PHC string format, as `hash-password` prints it.
    ///
    /// # Errors
    /// No PHC string, or of another algorithm than Argon2.
    pub fn parse(text: &str) -> Result<Self, MalformedHash> {
        let parsed = PasswordHash::new(text).map_err(|_| MalformedHash::NotPhc)?;
        argon2::Algorithm::try_from(parsed.algorithm).map_err(|_| MalformedHash::NotPhc)?;
        let params = argon2::Params::try_from(&parsed).map_err(|_| MalformedHash::NotPhc)?;
        if parsed.hash.is_none() || parsed.version.is_some_and(|version| argon2::Version::try_from(version).is_err()) {
            return Err(MalformedHash::NotPhc);
        }
        // RFC 9106, 3.1: 8 octets are 11 characters.
        if parsed.salt.is_none_or(|salt| salt.as_str().len() < 11) {
            return Err(MalformedHash::NotPhc);
        }
        if params.m_cost() > MOST_MEMORY || params.t_cost() > MOST_PASSES || params.p_cost() > MOST_LANES {
            return Err(MalformedHash::TooCostly);
        }
        Ok(Self(Secret::new(text.to_owned())))
    }

    /// Makes a hash with Argon2id and the parameters that OWASP recommends (19 MiB, 2 passes, 1 lane).
    ///
    /// # Errors
    /// The password is longer than Argon2 takes.
    pub fn of(password: &[u8]) -> Result<String, io::Error> {
        let salt = SaltString::generate(&mut OsRng);
        Argon2::default().hash_password(password, &salt).map(|hash| hash.to_string()).map_err(io::Error::other)
    }

    fn matches(&self, password: &[u8]) -> bool {
        PasswordHash::new(self.0.expose()).is_ok_and(|hash| Argon2::default().verify_password(password, &hash).is_ok())
    }
}

/// KiB: 1 GiB.
const MOST_MEMORY: u32 = 1024 * 1024;
const MOST_PASSES: u32 = 64;
const MOST_LANES: u32 = 64;

/// Why a text is not taken for a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MalformedHash {
    /// It is no Argon2 hash in PHC string format, or one that nothing matches.
    #[error("not an Argon2 hash in PHC string format ($argon2id$v=19$...)")]
    NotPhc,
    /// Its parameters would bring the machine down with each login.
    #[error("too costly: at most m={MOST_MEMORY}, t={MOST_PASSES}, p={MOST_LANES}")]
    TooCostly,
}

/// A credential that was found right.
#[derive(Clone, Debug)]
pub struct Admitted {
    /// Its profile.
    pub profile: Arc<Profile>,
    /// The mailbox that is to be opened.
    pub mailbox: Mailbox,
}

/// Why a credential was not found right: for the log. A client is not told whether a user name exists.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// No profile has that user name.
    #[error("no profile has this user name")]
    UnknownUsername,
    /// The profile's passwords are others.
    #[error("wrong password for profile {profile}")]
    WrongPassword {
        /// Which profile.
        profile: String,
    },
    /// The password is right, the authorization identity is neither the user name nor its mailbox.
    #[error("profile {profile} may not act as the authorization identity {authorization_id}")]
    WrongAuthorizationId {
        /// Which profile.
        profile: String,
        /// What the client asked for.
        authorization_id: Username,
    },
}

/// All profiles, by user name.
#[derive(Debug)]
pub struct Profiles {
    exact: HashMap<Username, Arc<Profile>>,
    domains: HashMap<String, Arc<Profile>>,
    /// Checked where a profile has fewer hashes than another, or where there is no profile: each attempt is the same
    /// work, so that its time does not tell which user names there are.
    decoy: Option<HashedPassword>,
    /// The hashes of the profile that has most of them: the work of each attempt.
    hashes: usize,
    /// Hashing takes some 20 ms of a core and 19 MiB; more at a time than cores only takes longer.
    hashing: Semaphore,
}

impl Profiles {
    /// Where two profiles have the same user name the first one has it; the configuration refuses that before.
    pub fn new(profiles: impl IntoIterator<Item = Profile>) -> Self {
        let (mut exact, mut domains, mut decoy, mut hashes) = (HashMap::new(), HashMap::new(), None, 0);
        for profile in profiles.into_iter().map(Arc::new) {
            let own: Vec<_> = hashed(&profile.passwords).collect();
            hashes = hashes.max(own.len());
            decoy = decoy.or_else(|| own.first().map(|&hash| hash.clone()));
            for username in &profile.usernames {
                match username {
                    UsernamePattern::Exactly(name) => {
                        exact.entry(name.clone()).or_insert_with(|| Arc::clone(&profile));
                    }
                    UsernamePattern::Domain(domain) => {
                        domains.entry(domain.clone()).or_insert_with(|| Arc::clone(&profile));
                    }
                }
            }
        }
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self { exact, domains, decoy, hashes, hashing: Semaphore::new(cores) }
    }

    /// Decides on a credential.
    ///
    /// # Errors
    /// [`Denied`], which is for the log.
    pub async fn admit(&self, credential: &Credential) -> Result<Admitted, Denied> {
        let found = self.find(&credential.username);
        let passwords = found.as_ref().map_or(&[][..], |(profile, _)| &profile.passwords);
        let right = self.any_matches(passwords, &credential.password).await;
        let Some((profile, mailbox)) = found else {
            return Err(Denied::UnknownUsername);
        };
        if !right {
            return Err(Denied::WrongPassword { profile: profile.name.clone() });
        }
        if let Some(id) = &credential.authorization_id
            && *id != credential.username
            && id.as_str() != mailbox.as_str().to_lowercase()
        {
            return Err(Denied::WrongAuthorizationId { profile: profile.name.clone(), authorization_id: id.clone() });
        }
        Ok(Admitted { profile: Arc::clone(profile), mailbox })
    }

    /// A user name of its own goes before its domain.
    fn find(&self, username: &Username) -> Option<(&Arc<Profile>, Mailbox)> {
        if let Some(profile) = self.exact.get(username) {
            let mailbox = profile.mailbox.clone().or_else(|| Mailbox::parse(username.as_str()).ok())?;
            return Some((profile, mailbox));
        }
        let profile = self.domains.get(username.domain()?)?;
        Some((profile, Mailbox::parse(username.as_str()).ok()?))
    }

    /// Every candidate is checked, right or wrong, and decoys with them: the time tells nothing.
    async fn any_matches(&self, candidates: &[Password], password: &Secret<Vec<u8>>) -> bool {
        let plain = candidates.iter().fold(false, |found, candidate| match candidate {
            Password::Plain(right) => found | verify_slices_are_equal(right.expose(), password.expose()).is_ok(),
            Password::Hash(_) => found,
        });
        let (hashes, decoys) = self.work(candidates);
        if hashes.is_empty() && decoys.is_empty() {
            return plain;
        }
        let Ok(_permit) = self.hashing.acquire().await else { return false };
        let password = password.clone();
        let hashed = tokio::task::spawn_blocking(move || {
            let any = |hashes: &[HashedPassword]| {
                hashes.iter().fold(false, |found, hash| hash.matches(password.expose()) | found)
            };
            let found = any(&hashes);
            any(&decoys);
            found
        });
        plain | hashed.await.unwrap_or(false)
    }

    /// The hashes that decide, and the decoys that make them as many as any profile has.
    fn work(&self, candidates: &[Password]) -> (Vec<HashedPassword>, Vec<HashedPassword>) {
        let hashes: Vec<_> = hashed(candidates).cloned().collect();
        let decoys = self.decoy.iter().cloned().cycle().take(self.hashes - hashes.len()).collect();
        (hashes, decoys)
    }
}

fn hashed(passwords: &[Password]) -> impl Iterator<Item = &HashedPassword> {
    passwords.iter().filter_map(|password| match password {
        Password::Hash(hash) => Some(hash),
        Password::Plain(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use super::{Denied, HashedPassword, MalformedHash, Password, Profile, Profiles, UsernamePattern};
    use crate::protocol::{Credential, Mailbox, Username};
    use crate::secret::Secret;

    fn name(name: &str) -> Username {
        Username::parse(name).expect("well-formed")
    }

    fn plain(password: &[u8]) -> Password {
        Password::Plain(Secret::new(password.to_vec()))
    }

    fn profiles() -> Profiles {
        let hash = HashedPassword::of(b"hunter2").expect("short enough");
        Profiles::new([
            Profile {
                name: "scanner".into(),
                usernames: vec![
                    UsernamePattern::Exactly(name("scanner")),
                    UsernamePattern::Exactly(name("vip@contoso.com")),
                ],
                mailbox: Some(Mailbox::parse("Scanner@contoso.com").expect("well-formed")),
                app: "contoso".into(),
                passwords: vec![plain(b"p\xe4ss"), Password::Hash(HashedPassword::parse(&hash).expect("just made"))],
            },
            Profile {
                name: "everyone".into(),
                usernames: vec![UsernamePattern::Domain("contoso.com".into())],
                mailbox: None,
                app: "contoso".into(),
                passwords: vec![plain(b"shared")],
            },
        ])
    }

    async fn admit(username: &str, password: &[u8], authorization_id: Option<&str>) -> Result<String, Denied> {
        let credential = Credential {
            username: name(username),
            password: Secret::new(password.to_vec()),
            authorization_id: authorization_id.map(name),
        };
        profiles().admit(&credential).await.map(|admitted| format!("{} {}", admitted.profile.name, admitted.mailbox))
    }

    #[tokio::test]
    async fn user_name_and_password_decide() {
        assert_eq!(admit("Scanner", b"hunter2", None).await, Ok("scanner Scanner@contoso.com".into()));
        assert_eq!(admit("scanner", b"p\xe4ss", None).await, Ok("scanner Scanner@contoso.com".into()));
        assert_eq!(admit("Ann@Contoso.com", b"shared", None).await, Ok("everyone ann@contoso.com".into()));
        let wrong = |profile: &str| Err(Denied::WrongPassword { profile: profile.into() });
        assert_eq!(admit("scanner", b"Hunter2", None).await, wrong("scanner"));
        assert_eq!(admit("scanner", b"", None).await, wrong("scanner"));
        assert_eq!(
            admit("vip@contoso.com", b"shared", None).await,
            wrong("scanner"),
            "its own profile, not the domain's"
        );
        assert_eq!(admit("ann@fabrikam.com", b"shared", None).await, Err(Denied::UnknownUsername));
        assert_eq!(admit("@contoso.com", b"shared", None).await, Err(Denied::UnknownUsername));
        assert_eq!(admit("a b@contoso.com", b"shared", None).await, Err(Denied::UnknownUsername));
    }

    #[tokio::test]
    async fn nobody_acts_as_somebody_else() {
        let right = Ok("scanner Scanner@contoso.com".to_owned());
        assert_eq!(admit("scanner", b"hunter2", Some("SCANNER")).await, right);
        assert_eq!(admit("scanner", b"hunter2", Some("scanner@contoso.com")).await, right);
        assert_eq!(
            admit("scanner", b"hunter2", Some("boss@contoso.com")).await,
            Err(Denied::WrongAuthorizationId { profile: "scanner".into(), authorization_id: name("boss@contoso.com") })
        );
    }

    /// Time would tell which user names there are.
    #[test]
    fn every_attempt_is_the_same_work() {
        let profiles = profiles();
        let work = |passwords: &[Password]| {
            let (hashes, decoys) = profiles.work(passwords);
            hashes.len() + decoys.len()
        };
        let (by_hash, _) = profiles.find(&name("scanner")).expect("it is there");
        let (by_password, _) = profiles.find(&name("ann@contoso.com")).expect("it is there");
        assert_eq!([work(&by_hash.passwords), work(&by_password.passwords), work(&[])], [1, 1, 1]);
    }

    #[test]
    fn only_argon2_hashes_are_hashes() {
        let right = HashedPassword::of(b"x").expect("short enough");
        for bad in [
            "",
            "hunter2",
            "$2b$12$abcdefghijklmnopqrstuv",
            "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ",
            &right.replace("v=19", "v=99"),
            "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$4oLcQmoxVYn1oAUkJoMVR6qjVxbdvXqDvHcVZ0fQJ5o",
        ] {
            assert_eq!(HashedPassword::parse(bad).err(), Some(MalformedHash::NotPhc), "{bad}");
        }
        for costly in ["m=4294967295,t=2,p=1", "m=19456,t=4294967295,p=1"] {
            let hash = right.replace("m=19456,t=2,p=1", costly);
            assert_eq!(HashedPassword::parse(&hash).err(), Some(MalformedHash::TooCostly), "{costly}");
        }
    }
}
