//! Expansion of `$(NAME)` in values of the environment, commands and arguments: `$$` is a dollar sign, what is not known
//! stays as it is written. Source: the Kubernetes API reference, fields `command`, `args` and `env.value`.

/// Expands every reference in `text`. One pass: what a value brings in is not expanded again.
pub fn expand<'a>(text: &str, lookup: impl Fn(&str) -> Option<&'a str>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        if let Some(tail) = after.strip_prefix('$') {
            out.push('$');
            rest = tail;
        } else if let Some((name, tail)) = after.strip_prefix('(').and_then(|t| t.split_once(')')) {
            match lookup(name) {
                Some(value) => out.push_str(value),
                None => {
                    out.push_str("$(");
                    out.push_str(name);
                    out.push(')');
                }
            }
            rest = tail;
        } else {
            out.push('$');
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expands_as_kubernetes() {
        let lookup = |name: &str| match name {
            "VAR_A" => Some("A"),
            "VAR_REF" => Some("$(VAR_A)"),
            "VAR_EMPTY" => Some(""),
            _ => None,
        };
        for (text, expected) in [
            ("", ""),
            ("plain", "plain"),
            ("$(VAR_A)", "A"),
            ("___$(VAR_A)___$(VAR_A)", "___A___A"),
            ("$(VAR_REF)", "$(VAR_A)"),
            ("f$(VAR_EMPTY)o", "fo"),
            ("$$(VAR_A)", "$(VAR_A)"),
            ("$$$(VAR_A)", "$A"),
            ("$$$$(VAR_A)", "$$(VAR_A)"),
            ("$(UNKNOWN)-$(VAR_A)", "$(UNKNOWN)-A"),
            ("$VAR_A", "$VAR_A"),
            ("${VAR_A}", "${VAR_A}"),
            ("$(VAR_A", "$(VAR_A"),
            ("trailing$", "trailing$"),
            ("$()", "$()"),
            ("$($(VAR_A))", "$($(VAR_A))"),
            ("ü$(VAR_A)ß", "üAß"),
        ] {
            assert_eq!(expand(text, lookup), expected, "{text}");
        }
    }
}
