//! The Kubernetes rules for names, label keys and label values (RFC 1123, RFC 1035 and the API conventions). Each rule
//! answers with the reason a text breaks it, worded as Kubernetes words it.

/// A rule over a text: `Ok` or the reason it is broken.
pub type Checked = Result<(), String>;

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', \
    and must start and end with an alphanumeric character (e.g. 'example.com')";
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start \
    and end with an alphanumeric character (e.g. 'my-name', or '123-abc')";
const LABEL_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an \
    alphabetic character, and end with an alphanumeric character (e.g. 'my-name', or 'abc-123')";
const QUALIFIED: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with \
    an alphanumeric character (e.g. 'MyName', or 'my.name', or '123-abc')";
const VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and \
    must start and end with an alphanumeric character (e.g. 'MyValue', or 'my_value', or '12345')";
const ENV: &str = "a valid environment variable name must consist only of printable ASCII characters other than '='";
const CONFIG_KEY: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name', \
    or 'KEY_NAME', or 'key-name')";

fn at_most(text: &str, max: usize) -> Checked {
    if text.len() > max { Err(format!("must be no more than {max} bytes, got {}", text.len())) } else { Ok(()) }
}

fn lower_alnum(b: u8) -> bool {
    b.is_ascii_lowercase() || b.is_ascii_digit()
}

fn is_label(text: &str) -> bool {
    let b = text.as_bytes();
    !b.is_empty() && lower_alnum(b[0]) && lower_alnum(b[b.len() - 1]) && b.iter().all(|&c| lower_alnum(c) || c == b'-')
}

/// An RFC 1123 subdomain of at most 253 bytes: the name of most objects.
pub fn subdomain(text: &str) -> Checked {
    at_most(text, 253)?;
    if text.split('.').all(is_label) { Ok(()) } else { Err(SUBDOMAIN.into()) }
}

/// An RFC 1123 label of at most 63 bytes: namespaces, container and port names.
pub fn label(text: &str) -> Checked {
    at_most(text, 63)?;
    if is_label(text) { Ok(()) } else { Err(LABEL.into()) }
}

/// An RFC 1035 label of at most 63 bytes: services.
pub fn label_1035(text: &str) -> Checked {
    at_most(text, 63)?;
    if is_label(text) && text.as_bytes()[0].is_ascii_lowercase() { Ok(()) } else { Err(LABEL_1035.into()) }
}

fn is_qualified_part(text: &str) -> bool {
    let b = text.as_bytes();
    !b.is_empty()
        && b[0].is_ascii_alphanumeric()
        && b[b.len() - 1].is_ascii_alphanumeric()
        && b.iter().all(|&c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.'))
}

/// A qualified name: an optional subdomain and `/`, then at most 63 bytes. Label, annotation and taint keys.
pub fn qualified_name(text: &str) -> Checked {
    let name = match text.split_once('/') {
        None => text,
        Some(("", _)) => return Err("prefix part must be non-empty".into()),
        Some((prefix, name)) => {
            subdomain(prefix).map_err(|e| format!("prefix part {e}"))?;
            name
        }
    };
    if name.is_empty() {
        return Err("name part must be non-empty".into());
    }
    at_most(name, 63).map_err(|e| format!("name part {e}"))?;
    if is_qualified_part(name) { Ok(()) } else { Err(QUALIFIED.into()) }
}

/// A label value: empty or at most 63 bytes.
pub fn label_value(text: &str) -> Checked {
    at_most(text, 63)?;
    if text.is_empty() || is_qualified_part(text) { Ok(()) } else { Err(VALUE.into()) }
}

/// The name of an environment variable.
pub fn env_name(text: &str) -> Checked {
    let ok = !text.is_empty() && text.bytes().all(|b| (0x20..0x7f).contains(&b) && b != b'=');
    if ok { Ok(()) } else { Err(ENV.into()) }
}

/// A key of a ConfigMap or Secret, at most 253 bytes; also a file name, so never `.` or `..`.
pub fn config_key(text: &str) -> Checked {
    at_most(text, 253)?;
    if text == "." || text.starts_with("..") {
        return Err(format!("must not be {text:?}: it names a directory"));
    }
    let ok = !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    if ok { Ok(()) } else { Err(CONFIG_KEY.into()) }
}

/// A port name (IANA service name): at most 15 bytes, one letter at least, no `--`.
pub fn port_name(text: &str) -> Checked {
    at_most(text, 15)?;
    if is_label(text) && text.bytes().any(|b| b.is_ascii_lowercase()) && !text.contains("--") {
        Ok(())
    } else {
        Err("must contain only alphanumeric characters (a-z, 0-9) and hyphens, at least one letter, no '--', and start \
             and end with an alphanumeric character"
            .into())
    }
}

/// Makes `prefix` and a suffix into a name of at most 63 bytes by cutting the prefix (as the API server does for
/// `generateName`).
pub fn generated(prefix: &str, suffix: &str) -> String {
    let keep = 63_usize.saturating_sub(suffix.len());
    let cut = prefix.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|&end| end <= keep).last().unwrap_or(0);
    format!("{}{suffix}", &prefix[..cut])
}

/// The alphabet of generated suffixes: no vowels and no look-alikes, as in Kubernetes.
const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// Five characters out of a random number: the suffix of generated names.
pub fn suffix(mut random: u64) -> String {
    let mut text = String::with_capacity(5);
    for _ in 0..5 {
        text.push(char::from(ALPHABET[(random % 27) as usize]));
        random /= 27;
    }
    text
}

/// A decimal 32-bit hash in the alphabet of names: the `pod-template-hash` form.
pub fn safe_encode(hash: u32) -> String {
    hash.to_string().bytes().map(|b| char::from(ALPHABET[usize::from(b) % 27])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_the_rules_of_kubernetes() {
        assert!(subdomain("a.b-c.1").is_ok() && subdomain("A").is_err() && subdomain("a..b").is_err());
        assert!(subdomain(&"a".repeat(254)).is_err() && subdomain("").is_err());
        assert!(label("1a").is_ok() && label("a.b").is_err() && label_1035("1a").is_err());
        assert!(qualified_name("example.com/My_Name").is_ok() && qualified_name("/x").is_err());
        assert!(qualified_name("a/b/c").is_err() && label_value("").is_ok() && label_value("-x").is_err());
        assert!(env_name("FOO-bar.1").is_ok() && env_name("A=B").is_err());
        assert!(config_key("..").is_err() && config_key("a.b").is_ok() && config_key("a/b").is_err());
        assert!(port_name("http").is_ok() && port_name("8080").is_err());
    }

    #[test]
    fn generated_names_fit() {
        assert_eq!(generated("web-", "abcde"), "web-abcde");
        assert_eq!(generated(&"x".repeat(80), "abcde").len(), 63);
        assert_eq!(suffix(0), "bbbbb");
    }
}
