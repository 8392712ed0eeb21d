//! The one table of services: their schemas, records and handlers.

use pileus_model::ServiceSchema;
use pileus_service::Router;
use pileus_state::Tables;

/// Every service of which some operation is implemented.
pub(crate) static SERVICES: &[&ServiceSchema] = pileus_aws::SERVICES;

/// Every table of the engine.
pub(crate) fn tables() -> Tables {
    let mut tables = Tables::default();
    pileus_network::tables(&mut tables);
    pileus_balancing::tables(&mut tables);
    pileus_compute::tables(&mut tables);
    pileus_registry::tables(&mut tables);
    pileus_security::tables(&mut tables);
    pileus_monitoring::tables(&mut tables);
    pileus_secrets::tables(&mut tables);
    pileus_account::tables(&mut tables);
    pileus_certificates::tables(&mut tables);
    pileus_scaling::tables(&mut tables);
    pileus_storage::tables(&mut tables);
    tables
}

/// Every handler of the engine.
pub(crate) fn router() -> Router {
    let mut router = Router::default();
    pileus_network::operations(&mut router);
    pileus_balancing::operations(&mut router);
    pileus_compute::operations(&mut router);
    pileus_registry::operations(&mut router);
    pileus_security::operations(&mut router);
    pileus_monitoring::operations(&mut router);
    pileus_secrets::operations(&mut router);
    pileus_account::operations(&mut router);
    pileus_certificates::operations(&mut router);
    pileus_scaling::operations(&mut router);
    pileus_storage::operations(&mut router);
    router
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the allow-list promises has a handler, and no table or handler is registered twice.
    #[test]
    fn every_operation_of_the_allow_list_has_a_handler() {
        tables();
        let router = router();
        let operations = SERVICES.iter().flat_map(|service| service.implemented.iter());
        let missing: Vec<_> = operations
            .filter(|operation| router.get(operation).is_none())
            .map(|operation| format!("{}:{}", operation.service.name, operation.name))
            .collect();
        assert!(missing.is_empty(), "allowed but not handled: {missing:?}");
    }

    /// Nothing can be asked of policies that `authorization.toml` does not say.
    #[test]
    fn every_operation_says_which_resources_it_is_about() {
        let operations = SERVICES.iter().flat_map(|service| service.implemented.iter());
        let silent: Vec<_> = operations
            .filter(|operation| operation.access.resources.is_empty())
            .map(|operation| operation.access.action)
            .collect();
        assert!(silent.is_empty(), "add to crates/base/aws/authorization.toml: {silent:?}");
    }
}
