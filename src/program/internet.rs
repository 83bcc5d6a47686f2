//! `--internet`: strict values for a server that strangers reach, and what it still has to be told.
//!
//! The values leave room for honest pages: an office behind one address, a page that draws, an upload of the longest
//! message. Why each of them is as it is stands in docs/security.md. The PHP original has no counterpart.

/// Of four descriptors three may be clients'. An eighth is for connections that are no clients, the rest for those that
/// end, and for files.
const CLIENTS_OF_FOUR: u64 = 3;

/// Bytes a second, at the least. With the burst, which is twice as much, the longest message passes at once.
const MIN_BYTE_RATE: u32 = 3 * 1024 * 1024;

/// What `--internet` did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Internet {
    /// Settings that nobody gave, with the values that they got.
    pub set: Vec<(&'static str, String)>,
    /// Settings that only the operator knows, with what holds without them.
    pub unnamed: Vec<(&'static str, &'static str)>,
}

impl Internet {
    /// What was set, in one line.
    pub fn told(&self) -> String {
        let set: Vec<String> = self.set.iter().map(|(name, value)| format!("{name} {value}")).collect();
        format!("Set for --internet: {}", if set.is_empty() { "nothing".into() } else { set.join(", ") })
    }

    /// What is still to be named, a line each.
    pub fn missing(&self) -> impl Iterator<Item = String> + '_ {
        self.unnamed.iter().map(|(name, without)| format!("Still to be named for --internet: --{name}, else {without}"))
    }
}

/// The strict values of a process that may have so many descriptors, and takes messages of so many bytes, with or without
/// tokens for publishing.
pub fn strict(descriptors: u64, max_message: usize, has_tokens: bool) -> Vec<(&'static str, String)> {
    let clients = descriptors / 4 * CLIENTS_OF_FOUR;
    let bytes = u32::try_from(max_message / 5 * 3).unwrap_or(u32::MAX).max(MIN_BYTE_RATE);
    let fixed = [
        ("max-per-ip", "1000"),
        ("max-message-rate", "100"),
        ("max-rooms-per-client", "8"),
        ("raw-dialect", "off"),
        ("publish", if has_tokens { "token" } else { "off" }),
        ("page", "off"),
    ];
    let computed = [("max-clients", clients.to_string()), ("max-byte-rate", bytes.to_string())];
    computed.into_iter().chain(fixed.map(|(name, value)| (name, value.to_owned()))).collect()
}

/// The settings that no default can know, each with what holds without it.
pub const TO_NAME: [(&str, &str); 5] = [
    ("cert", "messages and uuids can be read on their way"),
    ("allowed-origin", "any page on the web may connect in its visitor's name"),
    ("trusted-proxy", "the visitors of a proxy in front can't be told apart"),
    ("require-session", "everybody may connect, without having logged in"),
    ("publish-token-file", "nobody may publish over HTTP"),
];
