//! What a pod's volumes hold: pure, out of the pod and the objects it refers to.

use super::env::ConfigError;
use super::sources::{Sources, decode_base64};
use std::path::{Component, Path, PathBuf};
use steersman_domain::ports::VolumeContent;
use steersman_domain::{KeyToPath, Map, Pod, Quantity, Str, Volume};

/// The mode of files that name none, as in Kubernetes.
const DEFAULT_MODE: i32 = 0o644;

/// The content of a volume. The error says what is missing, or that this node cannot mount the kind.
pub(super) fn content(pod: &Pod, volume: &Volume, sources: &Sources) -> Result<VolumeContent, ConfigError> {
    let namespace = &pod.metadata.namespace;
    if let Some(empty) = &volume.empty_dir {
        return Ok(VolumeContent::Empty {
            limit_bytes: empty.size_limit.as_ref().map_or(0, Quantity::value),
            memory: empty.medium == "Memory",
        });
    }
    if let Some(source) = &volume.config_map {
        let optional = source.optional == Some(true);
        let Some(map) = sources.config_map(namespace, &source.name, optional)? else { return Ok(no_files(false)) };
        let mut data: Map<Vec<u8>> = map.data.iter().map(|(k, v)| (k.clone(), v.as_bytes().to_vec())).collect();
        for (key, value) in map.binary_data.iter() {
            data.insert(key.clone(), decode_base64("ConfigMap", &source.name, key, value)?);
        }
        let what = format!("configmap \"{}\"", source.name);
        let files = files(&what, &data, (&source.items, source.default_mode, optional))?;
        return Ok(VolumeContent::Files { files, secret: false });
    }
    if let Some(source) = &volume.secret {
        let optional = source.optional == Some(true);
        let Some(secret) = sources.secret(namespace, &source.secret_name, optional)? else { return Ok(no_files(true)) };
        let mut data: Map<Vec<u8>> = Map::new();
        for (key, value) in secret.data.iter() {
            data.insert(key.clone(), decode_base64("Secret", &source.secret_name, key, value)?);
        }
        let what = format!("secret \"{}\"", source.secret_name);
        let files = files(&what, &data, (&source.items, source.default_mode, optional))?;
        return Ok(VolumeContent::Files { files, secret: true });
    }
    if let Some(host) = &volume.host_path {
        return host_path(&host.path, &host.kind);
    }
    let kind = volume.extra.iter().next().map_or("no source", |(name, _)| name);
    Err(ConfigError(format!(
        "volume {:?} has {kind}, which this node cannot mount: use emptyDir, configMap, secret or hostPath",
        volume.name
    )))
}

fn no_files(secret: bool) -> VolumeContent {
    VolumeContent::Files { files: Vec::new(), secret }
}

/// Only directories can be mounted; which of them may be made is the type's to say.
fn host_path(path: &str, kind: &str) -> Result<VolumeContent, ConfigError> {
    match kind {
        "" | "Directory" => Ok(VolumeContent::Host { path: path.into(), create: false }),
        "DirectoryOrCreate" => Ok(VolumeContent::Host { path: path.into(), create: true }),
        other => Err(ConfigError(format!(
            "hostPath {path} has the type {other:?}, which this node cannot mount: use Directory or DirectoryOrCreate"
        ))),
    }
}

type Files = Vec<(PathBuf, Vec<u8>, u32)>;

fn files(
    what: &str,
    data: &Map<Vec<u8>>,
    (items, default_mode, optional): (&[KeyToPath], Option<i32>, bool),
) -> Result<Files, ConfigError> {
    let mode = |own: Option<i32>| u32::try_from(own.or(default_mode).unwrap_or(DEFAULT_MODE)).unwrap_or(0) & 0o777;
    if items.is_empty() {
        return Ok(data.iter().map(|(key, value)| (PathBuf::from(key.as_str()), value.clone(), mode(None))).collect());
    }
    let mut list = Vec::with_capacity(items.len());
    for item in items {
        match data.get(&item.key) {
            Some(value) => list.push((confined(&item.path)?, value.clone(), mode(item.mode))),
            None if optional => {}
            None => return Err(ConfigError(format!("{what} references non-existent config key: {}", item.key))),
        }
    }
    Ok(list)
}

/// A path that stays within its volume.
fn confined(path: &Str) -> Result<PathBuf, ConfigError> {
    let inside = !path.is_empty() && Path::new(path.as_str()).components().all(|c| matches!(c, Component::Normal(_)));
    if inside {
        Ok(PathBuf::from(path.as_str()))
    } else {
        Err(ConfigError(format!("{path:?} leads out of its volume: use a relative path without '..'")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use steersman_domain::{ConfigMap, ConfigMapVolumeSource, Key, Kind, Object, Revision, Stored};

    fn sources() -> Sources {
        let map = ConfigMap {
            data: [("a", Str::from("1")), ("b", "2".into())].into_iter().collect(),
            binary_data: [("c", Str::from("AP8="))].into_iter().collect(),
            ..ConfigMap::default()
        };
        let key = Key::new(Kind::ConfigMap, "", "m");
        let stored = Stored::new(key.clone(), Revision(1), Object::ConfigMap(Arc::new(map)));
        Sources { objects: [(key, Some(Arc::new(stored)))].into_iter().collect(), services: Vec::new() }
    }

    fn volume(name: &str, items: &[(&str, &str)], optional: bool) -> Volume {
        let items =
            items.iter().map(|&(key, path)| KeyToPath { key: key.into(), path: path.into(), ..Default::default() });
        let source = ConfigMapVolumeSource {
            name: name.into(),
            items: items.collect(),
            default_mode: Some(0o400),
            optional: Some(optional),
            ..Default::default()
        };
        Volume { name: "v".into(), config_map: Some(source), ..Volume::default() }
    }

    #[test]
    fn keys_become_files() {
        let made = |v: &Volume| content(&Pod::default(), v, &sources());
        let all = VolumeContent::Files {
            files: vec![
                ("a".into(), b"1".to_vec(), 0o400),
                ("b".into(), b"2".to_vec(), 0o400),
                ("c".into(), vec![0, 255], 0o400),
            ],
            secret: false,
        };
        assert_eq!(made(&volume("m", &[], false)), Ok(all));
        let one = VolumeContent::Files { files: vec![("x/y".into(), b"2".to_vec(), 0o400)], secret: false };
        assert_eq!(made(&volume("m", &[("b", "x/y"), ("gone", "z")], true)), Ok(one));
        assert!(made(&volume("m", &[("gone", "z")], false)).is_err());
        assert!(made(&volume("m", &[("a", "../z")], false)).is_err());
        assert_eq!(made(&volume("none", &[], true)), Ok(no_files(false)));
        assert_eq!(made(&volume("none", &[], false)), Err(ConfigError("configmap \"none\" not found".into())));
    }

    #[test]
    fn other_kinds_are_refused_by_name() {
        let volume: Volume =
            serde_json::from_str(r#"{"name":"v","persistentVolumeClaim":{"claimName":"c"}}"#).expect("valid");
        let error = content(&Pod::default(), &volume, &Sources::default()).expect_err("cannot be mounted");
        assert!(error.0.contains("persistentVolumeClaim"), "{error}");
    }
}
