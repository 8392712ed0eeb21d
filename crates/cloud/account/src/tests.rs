//! Account Management through its API.

use pileus_aws::account::*;
use pileus_kit::Cloud;

fn cloud() -> Cloud {
    Cloud::new(crate::tables, crate::operations)
}

#[test]
fn regions_are_listed_page_by_page() {
    let mut cloud = cloud();
    let mut input = ListRegionsRequest { max_results: Some(10), ..Default::default() };
    let first = cloud.ok::<ops::ListRegions>(input.clone());
    input.next_token = first.next_token;
    let second = cloud.ok::<ops::ListRegions>(input);
    assert_eq!((first.regions.unwrap().len(), second.regions.unwrap().len()), (10, 7));
    let disabled = ListRegionsRequest {
        region_opt_status_contains: Some(vec!["DISABLED".into()]),
        ..Default::default()
    };
    assert!(cloud.ok::<ops::ListRegions>(disabled).regions.unwrap().is_empty());
    let status = |name: &str| GetRegionOptStatusRequest { region_name: name.into(), ..Default::default() };
    let known = cloud.ok::<ops::GetRegionOptStatus>(status("eu-west-1"));
    assert_eq!(known.region_opt_status.as_deref(), Some("ENABLED_BY_DEFAULT"));
    assert_eq!(cloud.code::<ops::GetRegionOptStatus>(status("mars-1")), "ValidationException");
    let foreign = ListRegionsRequest { account_id: Some("111111111111".into()), ..Default::default() };
    assert_eq!(cloud.code::<ops::ListRegions>(foreign), "AccessDeniedException");
}

#[test]
fn name_and_contacts_are_kept_for_the_account() {
    let mut cloud = cloud();
    let name = PutAccountNameRequest { account_name: "Shop".into(), account_id: None };
    cloud.ok::<ops::PutAccountName>(name);
    let own = cloud.ok::<ops::GetAccountInformation>(Default::default());
    assert_eq!(own.account_name.as_deref(), Some("Shop"));
    assert_eq!(cloud.code::<ops::GetContactInformation>(Default::default()), "ResourceNotFoundException");
    let contact = ContactInformation {
        full_name: "A. Person".into(),
        address_line1: "Street 1".into(),
        city: "Bern".into(),
        postal_code: "3000".into(),
        country_code: "CH".into(),
        phone_number: "+41 1".into(),
        ..Default::default()
    };
    cloud.ok::<ops::PutContactInformation>(PutContactInformationRequest {
        contact_information: contact.clone(),
        account_id: None,
    });
    cloud.scope.region = "eu-west-1".into();
    let kept = cloud.ok::<ops::GetContactInformation>(Default::default()).contact_information;
    assert_eq!(kept, Some(contact));
    let get = || GetAlternateContactRequest { alternate_contact_type: "BILLING".into(), account_id: None };
    assert_eq!(cloud.code::<ops::GetAlternateContact>(get()), "ResourceNotFoundException");
    cloud.ok::<ops::PutAlternateContact>(PutAlternateContactRequest {
        name: "B".into(),
        title: "T".into(),
        email_address: "b@example.com".into(),
        phone_number: "1".into(),
        alternate_contact_type: "BILLING".into(),
        account_id: None,
    });
    assert_eq!(
        cloud.ok::<ops::GetAlternateContact>(get()).alternate_contact.unwrap().name.as_deref(),
        Some("B")
    );
    let delete =
        || DeleteAlternateContactRequest { alternate_contact_type: "BILLING".into(), account_id: None };
    cloud.ok::<ops::DeleteAlternateContact>(delete());
    assert_eq!(cloud.code::<ops::DeleteAlternateContact>(delete()), "ResourceNotFoundException");
}
