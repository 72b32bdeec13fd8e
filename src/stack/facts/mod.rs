//! What AWS offers and allows, as far as a stack file can be checked without asking it. Each table names its
//! source and its date. AWS adds to most of them, so what merely isn't listed is a warning, never an error.

pub mod cache;
pub mod database;
pub mod instances;
pub mod limits;
pub mod regions;
pub mod registry;

use super::diagnostic::did_you_mean;

/// Month in which the tables were last compared with their sources.
pub const AS_OF: &str = "November 2026";

/// One family of machines and its sizes, separated by spaces.
pub(super) type Family = (&'static str, &'static str);

/// Every size that any AWS machine has had.
const SIZES: &str = "nano micro small medium large xlarge 2xlarge 3xlarge 4xlarge 6xlarge 8xlarge 9xlarge 10xlarge \
                     12xlarge 16xlarge 18xlarge 24xlarge 32xlarge 48xlarge 56xlarge 64xlarge 96xlarge 112xlarge \
                     224xlarge metal metal-12xl metal-16xl metal-24xl metal-32xl metal-48xl metal-96xl";

/// What a table says about a class.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// AWS has it.
    Offered,
    /// Not in the table, but of a form that AWS may have added since.
    Unknown,
    /// AWS doesn't have it: why, and what was probably meant or is allowed.
    Wrong {
        /// Why not.
        reason: String,
        /// Lines of help.
        help: Vec<String>,
    },
}

/// Judges `class`, which must be `<prefix><family>.<size>`; `what` names the product, as in "a node type of ElastiCache".
pub(super) fn judge(class: &str, prefix: &str, families: &[Family], what: &str) -> Verdict {
    let wrong = |reason: String, help: Vec<String>| Verdict::Wrong { reason, help };
    let Some(name) = class.strip_prefix(prefix) else {
        let bare = class.rsplit_once('.').map_or(class, |(family, _)| {
            let start = family.rfind('.').map_or(0, |at| at + 1);
            &class[start..]
        });
        let meant = format!("{prefix}{bare}");
        let help = match judge(&meant, prefix, families, what) {
            Verdict::Offered => format!("did you mean `{meant}`?"),
            _ => format!("{what} looks like `{prefix}{}`", first_class(families)),
        };
        return wrong(format!("must begin with `{prefix}`"), vec![help]);
    };
    let Some((family, size)) = name.split_once('.') else {
        let help = format!("{what} looks like `{prefix}{}`", first_class(families));
        return wrong("must have a family and a size".to_owned(), vec![help]);
    };
    let Some((_, sizes)) = families.iter().find(|(known, _)| *known == family) else {
        if is_newer(family, families) && is_size(size) {
            return Verdict::Unknown;
        }
        let names: Vec<&str> = families.iter().map(|(family, _)| *family).collect();
        let mut help: Vec<String> = did_you_mean(family, names.iter().copied()).into_iter().collect();
        // EC2 has more families than help anybody.
        help.push(if names.len() > 20 {
            format!("{what} looks like `{prefix}{}`", first_class(families))
        } else {
            format!("families: {}", names.join(", "))
        });
        return wrong(format!("no family `{family}`"), help);
    };
    if sizes.split(' ').any(|known| known == size) {
        Verdict::Offered
    } else if is_size(size) {
        Verdict::Unknown
    } else {
        let help = format!("sizes of {prefix}{family}: {}", sizes.replace(' ', ", "));
        wrong(format!("no size `{size}`"), vec![help])
    }
}

fn first_class(families: &[Family]) -> String {
    let (family, sizes) = families.last().copied().unwrap_or(("t3", "medium"));
    let size = sizes.split(' ').find(|size| *size == "medium" || *size == "large").unwrap_or("large");
    format!("{family}.{size}")
}

fn is_size(size: &str) -> bool {
    SIZES.split_whitespace().any(|known| known == size)
}

/// True for a later generation of a known kind: `r9g` where the table ends with `r8g`.
fn is_newer(family: &str, families: &[Family]) -> bool {
    let Some((kind, generation)) = generation(family) else {
        return false;
    };
    let newest = families.iter().filter_map(|(known, _)| generation_of_kind(known, kind)).max();
    newest.is_some_and(|newest| generation >= newest)
}

fn generation_of_kind(family: &str, kind: &str) -> Option<u32> {
    generation(family).filter(|(other, _)| *other == kind).map(|(_, generation)| generation)
}

/// `r8gd` → `r`, 8.
fn generation(family: &str) -> Option<(&str, u32)> {
    let letters = family.find(|c: char| c.is_ascii_digit())?;
    let digits = family[letters..].find(|c: char| !c.is_ascii_digit()).map_or(family.len(), |at| letters + at);
    let suffix_is_plain = family[digits..].chars().all(|c| c.is_ascii_lowercase() || c == '-');
    let number = family[letters..digits].parse().ok()?;
    (letters > 0 && suffix_is_plain).then_some((&family[..letters], number))
}
