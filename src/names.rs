//! Names of the machine's users and groups.

use std::fs;

/// The name of a user in the machine's own list. Users whom only a directory service knows have none there.
pub(crate) fn user(number: u32) -> Option<String> {
    in_list(&fs::read_to_string("/etc/passwd").ok()?, number)
}

/// The name of a group in the machine's own list.
pub(crate) fn group(number: u32) -> Option<String> {
    in_list(&fs::read_to_string("/etc/group").ok()?, number)
}

/// From lines of `name:…:number:…`.
fn in_list(text: &str, number: u32) -> Option<String> {
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(number)).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_by_number() {
        assert_eq!(user(0).as_deref(), Some("root"));
        assert_eq!(group(0).as_deref(), Some("root"));
        assert_eq!((user(3_999_999_999), group(3_999_999_999)), (None, None));
        let list = "# of last year\nroot:x:0:\nbroken\nodd:x:1x:\nstaff:x:12:a,b\nlater:x:12:\n";
        assert_eq!(in_list(list, 12).as_deref(), Some("staff"));
        assert_eq!(in_list(list, 1), None);
    }
}
