//! `loader/loader.conf` and what EFI variables say instead of it: `loader.conf(5)`, "Boot Loader Interface".

use evenkeel_model::BootSettings;

use super::efi;
use crate::host::Host;
use crate::look::unavailable;
use evenkeel_platform::PlatformError;

/// What decides which entry is taken and whether the loader waits for a person.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct LoaderConf {
    /// Only for the next boot.
    pub(super) one_shot: Option<String>,
    /// What is taken instead of the first in the order: a name with `*` and `?`, and who says so.
    pub(super) default: Option<(String, &'static str)>,
    timeout: Option<String>,
    timeout_one_shot: Option<String>,
}

impl LoaderConf {
    /// `text` is that of `loader.conf`.
    pub(super) fn read(host: &Host, text: &str) -> Result<Self, PlatformError> {
        let of_file = |key: &str| {
            // The last one counts, as for the loader.
            let lines = text
                .lines()
                .filter_map(|line| line.trim().split_once(char::is_whitespace));
            lines
                .rev()
                .find(|(name, _)| *name == key)
                .map(|(_, value)| value.trim().to_owned())
        };
        let of_variable = |name: &str| efi::text(host, name);
        let default = match of_variable("LoaderEntryDefault")? {
            Some(pattern) => Some((pattern, "the EFI variable LoaderEntryDefault")),
            None => of_file("default").map(|pattern| (pattern, "loader.conf")),
        };
        Ok(Self {
            one_shot: of_variable("LoaderEntryOneShot")?,
            default,
            timeout: of_variable("LoaderConfigTimeout")?.or_else(|| of_file("timeout")),
            timeout_one_shot: of_variable("LoaderConfigTimeoutOneShot")?,
        })
    }

    /// `menu-force` shows the menu until someone chooses; everything else goes on by itself, after a while or at once.
    pub(super) fn boot_settings(&self) -> BootSettings {
        let waits = |timeout: &Option<String>| timeout.as_deref() == Some("menu-force");
        BootSettings {
            autoboot: !waits(&self.timeout),
            stops_in_menu: waits(&self.timeout_one_shot),
        }
    }
}

/// Whether a pattern with `*` and `?` fits a name. Unavailable for what else shells know: better not told than told wrongly.
pub(super) fn fits(pattern: &str, name: &str) -> Result<bool, PlatformError> {
    if pattern.contains(['[', '\\']) || pattern.starts_with('@') {
        return Err(unavailable(format!(
            "what the loader's default \"{pattern}\" means is not known here: use a name with * and ?"
        )));
    }
    let (pattern, name): (Vec<char>, Vec<char>) = (
        pattern.to_lowercase().chars().collect(),
        name.to_lowercase().chars().collect(),
    );
    Ok(fits_from(&pattern, &name))
}

fn fits_from(pattern: &[char], name: &[char]) -> bool {
    match (pattern.split_first(), name.split_first()) {
        (None, None) => true,
        (Some(('*', rest)), None) => fits_from(rest, name),
        (Some(('*', rest)), Some((_, later))) => fits_from(rest, name) || fits_from(pattern, later),
        (Some(('?', rest)), Some((_, later))) => fits_from(rest, later),
        (Some((wanted, rest)), Some((found, later))) => wanted == found && fits_from(rest, later),
        (Some(_), None) | (None, Some(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_as_in_a_shell() {
        for (pattern, name, expected) in [
            ("slot-*", "slot-b+3.conf", true),
            ("slot-b*", "slot-a.conf", false),
            ("slot-?.conf", "SLOT-A.conf", true),
            ("*", "", true),
            ("a", "ab", false),
        ] {
            assert_eq!(fits(pattern, name), Ok(expected), "{pattern} {name}");
        }
        fits("@saved", "a").unwrap_err();
        fits("slot-[ab]", "slot-a").unwrap_err();
    }

    #[test]
    fn only_a_menu_without_an_end_stops() {
        let host = |dir: &tempfile::TempDir| {
            Host::new(dir.path(), std::sync::Arc::new(crate::SystemPrograms))
        };
        let dir = tempfile::tempdir().unwrap();
        let read = |text: &str| LoaderConf::read(&host(&dir), text).unwrap();
        assert!(read("timeout 5\ndefault slot-*\n").boot_settings().autoboot);
        assert!(
            !read("timeout 5\ntimeout menu-force\n")
                .boot_settings()
                .autoboot
        );
        assert_eq!(read("#default x\n").default, None);
    }
}
