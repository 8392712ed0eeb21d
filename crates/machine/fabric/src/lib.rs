//! pileus-fabric
