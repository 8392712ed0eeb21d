//! Random passwords.
//! <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetRandomPassword.html>

use pileus_aws::secretsmanager::{GetRandomPasswordRequest, GetRandomPasswordResponse, ops};
use pileus_core::ApiError;
use pileus_service::{Context, Router};

use super::invalid_parameter;

const LOWERCASE: &str = "abcdefghijklmnopqrstuvwxyz";
const UPPERCASE: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const NUMBERS: &str = "0123456789";
const PUNCTUATION: &str = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";
const DEFAULT_LENGTH: i64 = 32;

pub(super) fn operations(router: &mut Router) {
    router.on::<ops::GetRandomPassword>(get_random_password);
}

fn get_random_password(
    cx: &mut Context,
    input: GetRandomPasswordRequest,
) -> Result<GetRandomPasswordResponse, ApiError> {
    let length = usize::try_from(input.password_length.unwrap_or(DEFAULT_LENGTH)).unwrap_or_default();
    let each = input.require_each_included_type.unwrap_or(true);
    let types = types(&input);
    let alphabet: Vec<u8> = types.concat();
    if alphabet.is_empty() {
        return Err(invalid_parameter("The excluded characters leave nothing to make a password of."));
    }
    if each && types.iter().any(Vec::is_empty) {
        return Err(invalid_parameter(
            "The excluded characters leave nothing of a character type that the password must have.",
        ));
    }
    if each && length < types.len() {
        return Err(invalid_parameter("Password length is too short based on the required types."));
    }
    let mut dice = Dice { entropy: cx.entropy };
    let required = types.iter().filter(|_| each);
    let mut password: Vec<u8> = required.map(|own| own[dice.below(own.len())]).collect();
    while password.len() < length {
        password.push(alphabet[dice.below(alphabet.len())]);
    }
    // Those of the required types stand at the front: shuffle (Fisher and Yates).
    for last in (1..password.len()).rev() {
        password.swap(last, dice.below(last + 1));
    }
    let password = password.into_iter().map(char::from).collect();
    Ok(GetRandomPasswordResponse { random_password: Some(password) })
}

/// The characters of each type that may occur.
fn types(input: &GetRandomPasswordRequest) -> Vec<Vec<u8>> {
    let excluded = input.exclude_characters.as_deref().unwrap_or_default();
    let on = |flag: Option<bool>| flag.unwrap_or(false);
    let types = [
        (!on(input.exclude_lowercase), LOWERCASE),
        (!on(input.exclude_uppercase), UPPERCASE),
        (!on(input.exclude_numbers), NUMBERS),
        (!on(input.exclude_punctuation), PUNCTUATION),
        (on(input.include_space), " "),
    ];
    let included = types.into_iter().filter(|(included, _)| *included);
    let left = |text: &str| text.bytes().filter(|byte| !excluded.as_bytes().contains(byte)).collect();
    included.map(|(_, text)| left(text)).collect()
}

/// Even numbers from the system's randomness.
struct Dice<'a> {
    entropy: &'a dyn Fn(&mut [u8]),
}

impl Dice<'_> {
    /// A number below `bound`, which is at least 1; every one is as likely.
    fn below(&mut self, bound: usize) -> usize {
        let bound = u32::try_from(bound).unwrap_or(u32::MAX);
        let fair = u32::MAX - u32::MAX % bound;
        loop {
            let mut bytes = [0; 4];
            (self.entropy)(&mut bytes);
            let drawn = u32::from_le_bytes(bytes);
            if drawn < fair {
                return (drawn % bound) as usize;
            }
        }
    }
}
