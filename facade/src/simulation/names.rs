//! What objects with generated names are called in a trace, so that it stays the same when other things are drawn.

use std::collections::BTreeMap;
use steersman_domain::ports::Change;
use steersman_domain::{Key, Str};

/// Counted names by real ones.
#[derive(Debug, Default)]
pub(super) struct Counted {
    by_name: BTreeMap<Str, String>,
    /// How many were made of each namespace and prefix.
    made: BTreeMap<(Key, Str), usize>,
}

impl Counted {
    /// Gives a new object with a generated name its number. Every uid is a `uid`.
    pub(super) fn note(&mut self, change: &Change) {
        let Change::Put { before: None, after } = change else { return };
        let meta = after.object.meta();
        if !meta.uid.0.is_empty() {
            self.by_name.insert(meta.uid.0.clone(), "uid".to_owned());
        }
        // Replicas of StatefulSets have an ordinal after the prefix, which nobody draws.
        if meta.controller().is_some_and(|owner| owner.kind == "StatefulSet") {
            return;
        }
        if meta.generate_name.is_empty() || self.by_name.contains_key(&meta.name) {
            return;
        }
        let prefix = self.write(&meta.generate_name);
        let group = Key::new(after.key.kind, &after.key.namespace, "");
        let made = self.made.entry((group, meta.generate_name.clone())).or_default();
        *made += 1;
        self.by_name.insert(meta.name.clone(), format!("{prefix}{made}"));
    }

    /// The real name of what is called so, among the objects that have been counted.
    pub(super) fn real(&self, counted: &str) -> Option<&Str> {
        self.by_name.iter().find(|(_, name)| *name == counted).map(|(real, _)| real)
    }

    /// A text with every real name in it replaced.
    pub(super) fn write(&self, text: &str) -> String {
        let part_of_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while !rest.is_empty() {
            let end = rest.find(|c: char| !part_of_name(c)).unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            let name = word.trim_end_matches(['.', '-']);
            match self.by_name.get(name) {
                Some(counted) => out.extend([counted, &word[name.len()..]]),
                None => out.push_str(word),
            }
            let separators = after.find(part_of_name).unwrap_or(after.len());
            out.push_str(&after[..separators]);
            rest = &after[separators..];
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use steersman_domain::{Pod, Resource, Revision, Stored};

    fn made(name: &str, prefix: &str) -> Change {
        let mut pod = Pod::default();
        (pod.metadata.name, pod.metadata.generate_name) = (name.into(), prefix.into());
        Change::Put {
            before: None,
            after: Arc::new(Stored::new(pod.key(), Revision(1), Pod::into_object(Arc::new(pod)))),
        }
    }

    #[test]
    fn generated_names_are_counted_and_others_stay() {
        let mut names = Counted::default();
        for (name, prefix) in [("web-abc", "web-"), ("db-0", ""), ("web-xyz", "web-"), ("job-abc", "job-")] {
            names.note(&made(name, prefix));
        }
        let text = "pod default/web-xyz: \"web-abc\", db-0 and web-abcd. It is web-xyz. As is job-abc";
        let wanted = "pod default/web-2: \"web-1\", db-0 and web-abcd. It is web-2. As is job-1";
        assert_eq!(names.write(text), wanted);
        assert_eq!((names.real("web-2"), names.real("web-3")), (Some(&"web-xyz".into()), None));
    }
}
