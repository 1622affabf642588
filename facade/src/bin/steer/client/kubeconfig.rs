//! Kubeconfig files: which server, which credentials, which namespace. Several files in `KUBECONFIG` are joined as
//! kubectl does it: of two entries with one name the first counts.

use super::flags::ClientFlags;
use anyhow::{Context as _, bail};
use base64::Engine as _;
use serde::Deserialize;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// What a kubeconfig gives, files read and base64 undone.
#[derive(Default)]
pub(super) struct Access {
    /// Where it was read, for messages.
    pub(super) from: String,
    pub(super) server: String,
    pub(super) tls_server_name: Option<String>,
    /// PEM.
    pub(super) authority: Option<Vec<u8>>,
    /// PEM.
    pub(super) certificate: Option<Vec<u8>>,
    /// PEM.
    pub(super) key: Option<Vec<u8>>,
    pub(super) token: Option<String>,
    pub(super) namespace: String,
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The rest are secrets.
        f.debug_struct("Access").field("from", &self.from).field("server", &self.server).finish_non_exhaustive()
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct File {
    current_context: String,
    clusters: Vec<NamedCluster>,
    users: Vec<NamedUser>,
    contexts: Vec<NamedContext>,
}

#[derive(Debug, Deserialize)]
struct NamedCluster {
    name: String,
    #[serde(default)]
    cluster: Cluster,
    #[serde(skip)]
    folder: PathBuf,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct Cluster {
    server: String,
    tls_server_name: Option<String>,
    certificate_authority: Option<PathBuf>,
    certificate_authority_data: Option<String>,
    insecure_skip_tls_verify: bool,
    proxy_url: Option<String>,
}

#[derive(Deserialize)]
struct NamedUser {
    name: String,
    #[serde(default)]
    user: User,
    #[serde(skip)]
    folder: PathBuf,
}

impl std::fmt::Debug for NamedUser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NamedUser").field("name", &self.name).finish_non_exhaustive()
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct User {
    client_certificate: Option<PathBuf>,
    client_certificate_data: Option<String>,
    client_key: Option<PathBuf>,
    client_key_data: Option<String>,
    token: Option<String>,
    #[serde(rename = "tokenFile")]
    token_file: Option<PathBuf>,
    username: Option<String>,
    exec: Option<serde_json::Value>,
    auth_provider: Option<serde_json::Value>,
}

#[derive(Debug, Deserialize)]
struct NamedContext {
    name: String,
    #[serde(default)]
    context: Context,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Context {
    cluster: String,
    user: String,
    namespace: Option<String>,
}

/// Where state is kept when nothing else is said: `$XDG_STATE_HOME/steersman`, else `~/.local/state/steersman`.
///
/// # Errors
/// When neither `XDG_STATE_HOME` nor `HOME` is set.
pub(crate) fn default_state_dir() -> anyhow::Result<PathBuf> {
    state_dir(std::env::var_os("XDG_STATE_HOME"), std::env::var_os("HOME"))
}

fn state_dir(state: Option<OsString>, home: Option<OsString>) -> anyhow::Result<PathBuf> {
    let set = |value: Option<OsString>| value.filter(|value| !value.is_empty()).map(PathBuf::from);
    match (set(state), set(home)) {
        // The base directory specification says that a relative path is to be ignored.
        (Some(state), _) if state.is_absolute() => Ok(state.join("steersman")),
        (_, Some(home)) => Ok(home.join(".local/state/steersman")),
        _ => bail!("neither XDG_STATE_HOME nor HOME is set, so there is no default place for state: name one"),
    }
}

/// Reads what the flags and `KUBECONFIG` choose.
pub(super) fn load(flags: &ClientFlags) -> anyhow::Result<Access> {
    let paths = match &flags.kubeconfig {
        Some(path) => vec![path.clone()],
        None => match std::env::var_os("KUBECONFIG").filter(|list| !list.is_empty()) {
            Some(list) => std::env::split_paths(&list).filter(|path| path.exists()).collect(),
            None => vec![default_state_dir()?.join("kubeconfig")],
        },
    };
    let mut file = File::default();
    for path in &paths {
        file.join(read(path)?);
    }
    let from = paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
    if from.is_empty() {
        let named = std::env::var_os("KUBECONFIG").unwrap_or_default();
        bail!(
            "KUBECONFIG names no file that exists ({}): start a cluster with `steer up`, or name its kubeconfig",
            named.display()
        );
    }
    let mut access = file.access(flags.context.as_deref()).with_context(|| format!("in the kubeconfig {from}"))?;
    access.from = from;
    Ok(access)
}

fn read(path: &Path) -> anyhow::Result<File> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => bail!(
            "there is no kubeconfig at {}: start a cluster with `steer up`, or name one with --kubeconfig",
            path.display()
        ),
        Err(error) => return Err(error).with_context(|| format!("cannot read the kubeconfig {}", path.display())),
    };
    let mut file = parse(&text).with_context(|| format!("the kubeconfig {} is malformed", path.display()))?;
    let folder = path.parent().unwrap_or(Path::new(".")).to_path_buf();
    file.clusters.iter_mut().for_each(|cluster| cluster.folder.clone_from(&folder));
    file.users.iter_mut().for_each(|user| user.folder.clone_from(&folder));
    Ok(file)
}

fn parse(text: &str) -> anyhow::Result<File> {
    // Without a snippet: the text around an error may hold a key.
    let options = serde_saphyr::options! { with_snippet: false };
    Ok(serde_saphyr::from_str_with_options(text, options)?)
}

impl File {
    fn join(&mut self, other: File) {
        if self.current_context.is_empty() {
            self.current_context = other.current_context;
        }
        // Looking for a name finds the first, so the first counts.
        self.clusters.extend(other.clusters);
        self.users.extend(other.users);
        self.contexts.extend(other.contexts);
    }

    fn access(self, context: Option<&str>) -> anyhow::Result<Access> {
        let wanted = context.unwrap_or(&self.current_context);
        if wanted.is_empty() {
            bail!("no current-context is set: choose one with --context");
        }
        let context = self.contexts.iter().find(|context| context.name == wanted);
        let context = &context.with_context(|| format!("there is no context {wanted:?}"))?.context;
        let cluster = self.clusters.iter().find(|cluster| cluster.name == context.cluster);
        let cluster = cluster.with_context(|| format!("there is no cluster {:?}", context.cluster))?;
        let mut access = cluster.cluster.access(&cluster.folder)?;
        let user = self.users.iter().find(|user| user.name == context.user);
        match user {
            Some(user) => user.user.add_to(&mut access, &user.folder).with_context(|| format!("user {}", user.name))?,
            None if context.user.is_empty() => {}
            None => bail!("there is no user {:?}", context.user),
        }
        let namespace = context.namespace.clone().filter(|namespace| !namespace.is_empty());
        access.namespace = namespace.unwrap_or_else(|| "default".to_owned());
        Ok(access)
    }
}

impl Cluster {
    fn access(&self, folder: &Path) -> anyhow::Result<Access> {
        if self.insecure_skip_tls_verify {
            bail!("insecure-skip-tls-verify is not supported: give certificate-authority-data");
        }
        if self.proxy_url.is_some() {
            bail!("proxy-url is not supported");
        }
        let data = ("certificate-authority-data", self.certificate_authority_data.as_deref());
        Ok(Access {
            server: self.server.clone(),
            tls_server_name: self.tls_server_name.clone(),
            authority: data_or_file(data, self.certificate_authority.as_deref(), folder)?,
            ..Access::default()
        })
    }
}

impl User {
    fn add_to(&self, access: &mut Access, folder: &Path) -> anyhow::Result<()> {
        if self.exec.is_some() || self.auth_provider.is_some() || self.username.is_some() {
            bail!("only client certificates and tokens are supported, no exec, auth-provider or password");
        }
        let certificate = ("client-certificate-data", self.client_certificate_data.as_deref());
        access.certificate = data_or_file(certificate, self.client_certificate.as_deref(), folder)?;
        let key = ("client-key-data", self.client_key_data.as_deref());
        access.key = data_or_file(key, self.client_key.as_deref(), folder)?;
        access.token = match (&self.token, &self.token_file) {
            (Some(token), _) => Some(token.clone()),
            (None, Some(file)) => {
                let token = read_file(&folder.join(file))?;
                Some(String::from_utf8(token).context("tokenFile is no text")?.trim().to_owned())
            }
            (None, None) => None,
        };
        Ok(())
    }
}

fn data_or_file(
    (name, data): (&str, Option<&str>),
    file: Option<&Path>,
    folder: &Path,
) -> anyhow::Result<Option<Vec<u8>>> {
    match (data.filter(|data| !data.is_empty()), file) {
        (Some(data), _) => {
            let decoded = base64::engine::general_purpose::STANDARD.decode(data.trim());
            Ok(Some(decoded.with_context(|| format!("{name} is no base64"))?))
        }
        (None, Some(file)) => read_file(&folder.join(file)).map(Some),
        (None, None) => Ok(None),
    }
}

fn read_file(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "
current-context: here
clusters:
- name: c
  cluster: {server: 'https://127.0.0.1:6443', certificate-authority-data: aGVsbG8=}
users:
- name: u
  user: {client-certificate-data: Y2VydA==, client-key-data: a2V5}
contexts:
- name: here
  context: {cluster: c, user: u}
- name: there
  context: {cluster: c, user: u, namespace: shop}
- name: lost
  context: {cluster: gone, user: u}
";

    fn failed(text: &str) -> String {
        match parse(text).and_then(|file| file.access(None)) {
            Ok(access) => panic!("{access:?}"),
            Err(error) => format!("{error:#}"),
        }
    }

    #[test]
    fn a_context_gives_server_credentials_and_namespace() {
        let access = parse(GOOD).expect("good").access(None).expect("good");
        assert_eq!((access.server.as_str(), access.namespace.as_str()), ("https://127.0.0.1:6443", "default"));
        assert_eq!(access.authority.as_deref(), Some(b"hello".as_slice()));
        assert_eq!(access.certificate.as_deref(), Some(b"cert".as_slice()));
        assert_eq!(access.key.as_deref(), Some(b"key".as_slice()));
        let there = parse(GOOD).expect("good").access(Some("there")).expect("good");
        assert_eq!(there.namespace, "shop");
    }

    #[test]
    fn bad_input_is_said_and_named() {
        assert!(failed("").contains("no current-context"));
        assert!(failed("current-context: [1").contains("line 1"), "{}", failed("current-context: [1"));
        assert!(failed("clusters: 5").contains("line 1"));
        assert!(failed("current-context: x").contains("no context \"x\""));
        assert!(
            failed(&GOOD.replace("current-context: here", "current-context: lost")).contains("no cluster \"gone\"")
        );
        assert!(failed(&GOOD.replace("- name: u", "- name: v")).contains("no user \"u\""));
        assert!(failed(&GOOD.replace("aGVsbG8=", "'%%'")).contains("certificate-authority-data is no base64"));
        assert!(failed(&GOOD.replace("client-key-data: a2V5", "username: me")).contains("only client certificates"));
        let insecure = GOOD.replace("certificate-authority-data: aGVsbG8=", "insecure-skip-tls-verify: true");
        assert!(failed(&insecure).contains("insecure-skip-tls-verify is not supported"));
    }

    #[test]
    fn an_error_never_shows_a_key() {
        let error = failed(&GOOD.replace("client-key-data: a2V5", "client-key-data: {hidden: a2V5}"));
        assert!(!error.contains("a2V5"), "{error}");
    }

    #[test]
    fn files_are_joined_and_paths_are_relative_to_them() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("written");
        write("ca.pem", "authority");
        write("one", "current-context: x\ncontexts: [{name: x, context: {cluster: c}}]");
        write("two", "current-context: y\nclusters: [{name: c, cluster: {server: s, certificate-authority: ca.pem}}]");
        let mut file = read(&folder.path().join("one")).expect("good");
        file.join(read(&folder.path().join("two")).expect("good"));
        let access = file.access(None).expect("good");
        assert_eq!(access.authority.as_deref(), Some(b"authority".as_slice()));
        let missing = read(&folder.path().join("three")).expect_err("missing");
        assert!(missing.to_string().contains("steer up"), "{missing}");
    }

    #[test]
    fn state_has_a_default_place() {
        let dir = |state: &str, home: &str| state_dir(Some(state.into()), Some(home.into())).ok();
        assert_eq!(dir("/s", "/h"), Some("/s/steersman".into()));
        assert_eq!(dir("", "/h"), Some("/h/.local/state/steersman".into()));
        assert_eq!(dir("relative", "/h"), Some("/h/.local/state/steersman".into()));
        assert_eq!(dir("", ""), None);
    }
}
