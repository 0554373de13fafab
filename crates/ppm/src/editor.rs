//! What lets an editor help with a configuration.

use std::path::{Path, PathBuf};

/// The first line of a configuration that is made for somebody to edit: where its schema is, for YAML language servers. Nothing
/// where no package has put one there, as an editor complains about a schema that it does not find.
pub fn first_line() -> String {
    let program = std::env::current_exe().ok();
    program.and_then(|program| schema_beside(&program)).map_or(String::new(), |schema| line(&schema))
}

/// As packages lay it: PREFIX/bin/ppm and PREFIX/share/ppm.
fn schema_beside(program: &Path) -> Option<PathBuf> {
    let schema = program.parent()?.parent()?.join("share/ppm/config.schema.json");
    schema.is_file().then_some(schema)
}

fn line(schema: &Path) -> String {
    format!("# yaml-language-server: $schema={}\n", schema.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_is_named_where_it_is_installed() {
        let prefix = tempfile::tempdir().unwrap();
        let program = prefix.path().join("bin/ppm");
        assert_eq!(schema_beside(&program), None);
        let schema = prefix.path().join("share/ppm/config.schema.json");
        std::fs::create_dir_all(schema.parent().unwrap()).unwrap();
        std::fs::write(&schema, "{}").unwrap();
        assert_eq!(schema_beside(&program), Some(schema));
        assert_eq!(schema_beside(Path::new("ppm")), None);
    }

    #[test]
    fn the_line_is_that_of_the_yaml_language_server() {
        let schema = Path::new("/usr/share/ppm/config.schema.json");
        assert_eq!(line(schema), "# yaml-language-server: $schema=/usr/share/ppm/config.schema.json\n");
    }
}
