//! The words of a command line that name objects: `TYPE`, `TYPE NAME…`, `TYPE,TYPE`, `TYPE/NAME…`, `all`.

use super::discovery::{Discovery, Resource};
use anyhow::bail;

/// A type, and the objects of it that are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) resource: Resource,
    /// None: all.
    pub(crate) names: Vec<String>,
}

/// Reads words.
///
/// # Errors
/// For an unknown type, and for words that mix the two ways of naming.
pub(crate) fn resolve(words: &[String], discovery: &Discovery) -> anyhow::Result<Vec<Target>> {
    let Some(first) = words.first() else {
        bail!("name a type, such as `pods`, or an object, such as `pod/web`");
    };
    if words.iter().any(|word| word.contains('/')) {
        return pairs(words, discovery);
    }
    let names = &words[1..];
    if let Some(empty) = names.iter().find(|name| name.is_empty()) {
        bail!("a name must not be empty: {empty:?}");
    }
    let mut targets: Vec<Target> = Vec::new();
    let mut add = |resource: &Resource| {
        if !targets.iter().any(|target| target.resource == *resource) {
            targets.push(Target { resource: resource.clone(), names: names.to_vec() });
        }
    };
    for word in first.split(',') {
        let category = discovery.category(word);
        if category.is_empty() {
            add(discovery.find(word)?);
        } else if names.is_empty() {
            category.into_iter().for_each(&mut add);
        } else {
            bail!("{word:?} stands for several types, so no name can follow");
        }
    }
    Ok(targets)
}

fn pairs(words: &[String], discovery: &Discovery) -> anyhow::Result<Vec<Target>> {
    let mut targets: Vec<Target> = Vec::new();
    for word in words {
        let Some((kind, name)) = word.split_once('/') else {
            bail!("there is no need to name a type as a separate word when TYPE/NAME is used: see {word:?}");
        };
        if name.is_empty() || name.contains('/') {
            bail!("write {word:?} as TYPE/NAME");
        }
        let resource = discovery.find(kind)?;
        match targets.last_mut() {
            Some(last) if last.resource == *resource => last.names.push(name.to_owned()),
            _ => targets.push(Target { resource: resource.clone(), names: vec![name.to_owned()] }),
        }
    }
    Ok(targets)
}

/// Reads words that must name exactly one object.
///
/// # Errors
/// As [`resolve`], and for none or several.
pub(crate) fn one(words: &[String], discovery: &Discovery) -> anyhow::Result<(Resource, String)> {
    match resolve(words, discovery)?.as_slice() {
        [Target { resource, names }] if names.len() == 1 => Ok((resource.clone(), names[0].clone())),
        _ => bail!("name one object, as TYPE/NAME"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::discovery::tests::sample;
    use super::*;

    fn read(words: &str) -> anyhow::Result<Vec<(String, Vec<String>)>> {
        let words: Vec<_> = words.split_whitespace().map(str::to_owned).collect();
        let targets = resolve(&words, &sample())?;
        Ok(targets.into_iter().map(|target| (target.resource.plural, target.names)).collect())
    }

    #[test]
    fn words_are_types_and_names() {
        let target =
            |plural: &str, names: &[&str]| (plural.to_owned(), names.iter().map(|n| (*n).to_owned()).collect());
        assert_eq!(read("po").expect("good"), [target("pods", &[])]);
        assert_eq!(read("po a b").expect("good"), [target("pods", &["a", "b"])]);
        assert_eq!(read("deploy,po,pods").expect("good"), [target("deployments", &[]), target("pods", &[])]);
        assert_eq!(read("all").expect("good"), [target("pods", &[]), target("deployments", &[])]);
        let mixed = [target("pods", &["a", "b"]), target("deployments", &["c"])];
        assert_eq!(read("po/a pod/b deploy/c").expect("good"), mixed);
    }

    #[test]
    fn what_names_nothing_is_an_error() {
        for bad in ["", "po deploy/a", "po/", "po/a/b", "all web", "nothing"] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
        let one_of = |word: &str| one(&[word.to_owned()], &sample());
        assert_eq!(one_of("deploy/web").expect("one").1, "web");
        assert!(one_of("deploy").is_err());
    }
}
