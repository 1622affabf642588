//! The manifests in `docs/examples` are what people try first: they must be read without a problem or a warning, and
//! survive every pure step that the API puts them through.

use std::path::Path;
use steersman_kubernetes::{
    Gvk, apply_defaults, carried_fields, check_fields, flatten_lists, missing_fields, strategic_merge, yaml_documents,
};

#[test]
fn examples_are_whole_and_need_no_warning() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/examples");
    let mut seen = 0;
    for entry in std::fs::read_dir(&folder).expect("docs/examples") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|e| e != "yaml") {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("a manifest");
        let documents = flatten_lists(yaml_documents(&text).expect("YAML"));
        for mut object in documents {
            let written = object.clone();
            let gvk = Gvk::of(&written);
            let place = format!("{} {}", path.display(), gvk.kind);
            assert_eq!(check_fields(gvk, &object), [], "{place}");
            assert_eq!(missing_fields(gvk, &object), Vec::<String>::new(), "{place}");
            assert_eq!(carried_fields(gvk, &object), Vec::<String>::new(), "{place}");
            apply_defaults(gvk, &mut object);
            assert_eq!(check_fields(gvk, &object), [], "{place} with its defaults");
            assert_eq!(carried_fields(gvk, &object), Vec::<String>::new(), "{place} with its defaults");
            // Applying what is already there changes nothing.
            assert_eq!(strategic_merge(gvk, &object, &written), Ok(object.clone()), "{place}");
            seen += 1;
        }
    }
    assert!(seen > 0, "there are no examples in {}", folder.display());
}
