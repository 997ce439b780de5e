from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class KeptOptimizer(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ALL: _ClassVar[KeptOptimizer]
    LAST: _ClassVar[KeptOptimizer]
ALL: KeptOptimizer
LAST: KeptOptimizer

class SolverOptions(_message.Message):
    __slots__ = ("use_sync_batchnorm", "learning_policy", "base_learning_rate", "poly_learning_power", "poly_end_learning_rate", "warmup_steps", "optimizer", "weight_decay", "use_gradient_clipping", "clip_gradient_norm", "training_number_of_steps", "batchnorm_momentum", "batchnorm_epsilon", "backbone_learning_rate_multiplier", "adamw_weight_decay", "ema_decay", "max_replica_batch_size", "reference_batch_size")
    USE_SYNC_BATCHNORM_FIELD_NUMBER: _ClassVar[int]
    LEARNING_POLICY_FIELD_NUMBER: _ClassVar[int]
    BASE_LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    POLY_LEARNING_POWER_FIELD_NUMBER: _ClassVar[int]
    POLY_END_LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    WARMUP_STEPS_FIELD_NUMBER: _ClassVar[int]
    OPTIMIZER_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_DECAY_FIELD_NUMBER: _ClassVar[int]
    USE_GRADIENT_CLIPPING_FIELD_NUMBER: _ClassVar[int]
    CLIP_GRADIENT_NORM_FIELD_NUMBER: _ClassVar[int]
    TRAINING_NUMBER_OF_STEPS_FIELD_NUMBER: _ClassVar[int]
    BATCHNORM_MOMENTUM_FIELD_NUMBER: _ClassVar[int]
    BATCHNORM_EPSILON_FIELD_NUMBER: _ClassVar[int]
    BACKBONE_LEARNING_RATE_MULTIPLIER_FIELD_NUMBER: _ClassVar[int]
    ADAMW_WEIGHT_DECAY_FIELD_NUMBER: _ClassVar[int]
    EMA_DECAY_FIELD_NUMBER: _ClassVar[int]
    MAX_REPLICA_BATCH_SIZE_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_BATCH_SIZE_FIELD_NUMBER: _ClassVar[int]
    use_sync_batchnorm: bool
    learning_policy: str
    base_learning_rate: float
    poly_learning_power: float
    poly_end_learning_rate: float
    warmup_steps: int
    optimizer: str
    weight_decay: float
    use_gradient_clipping: bool
    clip_gradient_norm: float
    training_number_of_steps: int
    batchnorm_momentum: float
    batchnorm_epsilon: float
    backbone_learning_rate_multiplier: float
    adamw_weight_decay: float
    ema_decay: float
    max_replica_batch_size: int
    reference_batch_size: int
    def __init__(self, use_sync_batchnorm: bool = ..., learning_policy: _Optional[str] = ..., base_learning_rate: _Optional[float] = ..., poly_learning_power: _Optional[float] = ..., poly_end_learning_rate: _Optional[float] = ..., warmup_steps: _Optional[int] = ..., optimizer: _Optional[str] = ..., weight_decay: _Optional[float] = ..., use_gradient_clipping: bool = ..., clip_gradient_norm: _Optional[float] = ..., training_number_of_steps: _Optional[int] = ..., batchnorm_momentum: _Optional[float] = ..., batchnorm_epsilon: _Optional[float] = ..., backbone_learning_rate_multiplier: _Optional[float] = ..., adamw_weight_decay: _Optional[float] = ..., ema_decay: _Optional[float] = ..., max_replica_batch_size: _Optional[int] = ..., reference_batch_size: _Optional[int] = ...) -> None: ...

class LossOptions(_message.Message):
    __slots__ = ("semantic_loss", "center_loss", "regression_loss", "motion_loss", "next_regression_loss", "pq_style_loss", "mask_id_cross_entropy_loss", "instance_discrimination_loss", "depth_loss", "proposal_loss", "proposal_box_loss", "class_loss", "box_loss", "mask_loss", "soft_panoptic_quality_loss", "learn_weights", "cell_loss")
    class SingleLossOptions(_message.Message):
        __slots__ = ("name", "weight", "top_k_percent", "class_weight", "class_weights", "balance", "max_class_weight")
        class ClassBalance(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
            __slots__ = ()
            NONE: _ClassVar[LossOptions.SingleLossOptions.ClassBalance]
            INVERSE_FREQUENCY: _ClassVar[LossOptions.SingleLossOptions.ClassBalance]
            MEDIAN_FREQUENCY: _ClassVar[LossOptions.SingleLossOptions.ClassBalance]
        NONE: LossOptions.SingleLossOptions.ClassBalance
        INVERSE_FREQUENCY: LossOptions.SingleLossOptions.ClassBalance
        MEDIAN_FREQUENCY: LossOptions.SingleLossOptions.ClassBalance
        class ClassWeight(_message.Message):
            __slots__ = ("name", "weight")
            NAME_FIELD_NUMBER: _ClassVar[int]
            WEIGHT_FIELD_NUMBER: _ClassVar[int]
            name: str
            weight: float
            def __init__(self, name: _Optional[str] = ..., weight: _Optional[float] = ...) -> None: ...
        NAME_FIELD_NUMBER: _ClassVar[int]
        WEIGHT_FIELD_NUMBER: _ClassVar[int]
        TOP_K_PERCENT_FIELD_NUMBER: _ClassVar[int]
        CLASS_WEIGHT_FIELD_NUMBER: _ClassVar[int]
        CLASS_WEIGHTS_FIELD_NUMBER: _ClassVar[int]
        BALANCE_FIELD_NUMBER: _ClassVar[int]
        MAX_CLASS_WEIGHT_FIELD_NUMBER: _ClassVar[int]
        name: str
        weight: float
        top_k_percent: float
        class_weight: _containers.RepeatedCompositeFieldContainer[LossOptions.SingleLossOptions.ClassWeight]
        class_weights: _containers.RepeatedScalarFieldContainer[float]
        balance: LossOptions.SingleLossOptions.ClassBalance
        max_class_weight: float
        def __init__(self, name: _Optional[str] = ..., weight: _Optional[float] = ..., top_k_percent: _Optional[float] = ..., class_weight: _Optional[_Iterable[_Union[LossOptions.SingleLossOptions.ClassWeight, _Mapping]]] = ..., class_weights: _Optional[_Iterable[float]] = ..., balance: _Optional[_Union[LossOptions.SingleLossOptions.ClassBalance, str]] = ..., max_class_weight: _Optional[float] = ...) -> None: ...
    SEMANTIC_LOSS_FIELD_NUMBER: _ClassVar[int]
    CENTER_LOSS_FIELD_NUMBER: _ClassVar[int]
    REGRESSION_LOSS_FIELD_NUMBER: _ClassVar[int]
    MOTION_LOSS_FIELD_NUMBER: _ClassVar[int]
    NEXT_REGRESSION_LOSS_FIELD_NUMBER: _ClassVar[int]
    PQ_STYLE_LOSS_FIELD_NUMBER: _ClassVar[int]
    MASK_ID_CROSS_ENTROPY_LOSS_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_DISCRIMINATION_LOSS_FIELD_NUMBER: _ClassVar[int]
    DEPTH_LOSS_FIELD_NUMBER: _ClassVar[int]
    PROPOSAL_LOSS_FIELD_NUMBER: _ClassVar[int]
    PROPOSAL_BOX_LOSS_FIELD_NUMBER: _ClassVar[int]
    CLASS_LOSS_FIELD_NUMBER: _ClassVar[int]
    BOX_LOSS_FIELD_NUMBER: _ClassVar[int]
    MASK_LOSS_FIELD_NUMBER: _ClassVar[int]
    SOFT_PANOPTIC_QUALITY_LOSS_FIELD_NUMBER: _ClassVar[int]
    LEARN_WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    CELL_LOSS_FIELD_NUMBER: _ClassVar[int]
    semantic_loss: LossOptions.SingleLossOptions
    center_loss: LossOptions.SingleLossOptions
    regression_loss: LossOptions.SingleLossOptions
    motion_loss: LossOptions.SingleLossOptions
    next_regression_loss: LossOptions.SingleLossOptions
    pq_style_loss: LossOptions.SingleLossOptions
    mask_id_cross_entropy_loss: LossOptions.SingleLossOptions
    instance_discrimination_loss: LossOptions.SingleLossOptions
    depth_loss: LossOptions.SingleLossOptions
    proposal_loss: LossOptions.SingleLossOptions
    proposal_box_loss: LossOptions.SingleLossOptions
    class_loss: LossOptions.SingleLossOptions
    box_loss: LossOptions.SingleLossOptions
    mask_loss: LossOptions.SingleLossOptions
    soft_panoptic_quality_loss: LossOptions.SingleLossOptions
    learn_weights: bool
    cell_loss: LossOptions.SingleLossOptions
    def __init__(self, semantic_loss: _Optional[_Union[LossOptions.SingleLossOptions, _Mapping]] = ..., center_loss: _Optional[_Union[LossOptions.SingleLossOptions, _Mapping]] = ..., regression_loss: _Optional[_Union[LossOptions.SingleLossOptions, _Mapping]] = ..., motion_loss: _Optional[_Union[LossOptions.SingleLossOptions, _Mapping]] = ..., next_regression_loss: _Optional[_Union[LossOptions.SingleLossOptions, _Mapping]] = ..., pq_style_loss: _Optional[_Union[LossOptions.SingleLossOptions, _Mapping]] = ..., mask_id_cross_entropy_loss: _Optional[_Union[LossOptions.SingleLossOptions, _Mapping]] = ..., instance_discrimination_loss: _Optional[_Union[LossOptions.SingleLossOptions, _Mapping]] = ..., depth_loss: _Optional[_Union[LossOptions.SingleLossOptions, _Mapping]] = ..., proposal_loss: _Optional[_Union[LossOptions.SingleLossOptions, _Mapping]] = ..., proposal_box_loss: _Optional[_Union[LossOptions.SingleLossOptions, _Mapping]] = ..., class_loss: _Optional[_Union[LossOptions.SingleLossOptions, _Mapping]] = ..., box_loss: _Optional[_Union[LossOptions.SingleLossOptions, _Mapping]] = ..., mask_loss: _Optional[_Union[LossOptions.SingleLossOptions, _Mapping]] = ..., soft_panoptic_quality_loss: _Optional[_Union[LossOptions.SingleLossOptions, _Mapping]] = ..., learn_weights: bool = ..., cell_loss: _Optional[_Union[LossOptions.SingleLossOptions, _Mapping]] = ...) -> None: ...

class WatchdogOptions(_message.Message):
    __slots__ = ("compile_seconds", "step_seconds", "save_seconds", "evaluation_seconds")
    COMPILE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    STEP_SECONDS_FIELD_NUMBER: _ClassVar[int]
    SAVE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    EVALUATION_SECONDS_FIELD_NUMBER: _ClassVar[int]
    compile_seconds: int
    step_seconds: int
    save_seconds: int
    evaluation_seconds: int
    def __init__(self, compile_seconds: _Optional[int] = ..., step_seconds: _Optional[int] = ..., save_seconds: _Optional[int] = ..., evaluation_seconds: _Optional[int] = ...) -> None: ...

class TrainerOptions(_message.Message):
    __slots__ = ("num_checkpoints_to_keep", "save_checkpoints_steps", "save_summaries_steps", "steps_per_loop", "loss_options", "solver_options", "seed", "deterministic", "compute_precision", "keep_optimizer", "early_stopping_evaluations", "async_checkpoints", "watchdog", "compile_step")
    NUM_CHECKPOINTS_TO_KEEP_FIELD_NUMBER: _ClassVar[int]
    SAVE_CHECKPOINTS_STEPS_FIELD_NUMBER: _ClassVar[int]
    SAVE_SUMMARIES_STEPS_FIELD_NUMBER: _ClassVar[int]
    STEPS_PER_LOOP_FIELD_NUMBER: _ClassVar[int]
    LOSS_OPTIONS_FIELD_NUMBER: _ClassVar[int]
    SOLVER_OPTIONS_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    DETERMINISTIC_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_PRECISION_FIELD_NUMBER: _ClassVar[int]
    KEEP_OPTIMIZER_FIELD_NUMBER: _ClassVar[int]
    EARLY_STOPPING_EVALUATIONS_FIELD_NUMBER: _ClassVar[int]
    ASYNC_CHECKPOINTS_FIELD_NUMBER: _ClassVar[int]
    WATCHDOG_FIELD_NUMBER: _ClassVar[int]
    COMPILE_STEP_FIELD_NUMBER: _ClassVar[int]
    num_checkpoints_to_keep: int
    save_checkpoints_steps: int
    save_summaries_steps: int
    steps_per_loop: int
    loss_options: LossOptions
    solver_options: SolverOptions
    seed: int
    deterministic: bool
    compute_precision: str
    keep_optimizer: KeptOptimizer
    early_stopping_evaluations: int
    async_checkpoints: bool
    watchdog: WatchdogOptions
    compile_step: bool
    def __init__(self, num_checkpoints_to_keep: _Optional[int] = ..., save_checkpoints_steps: _Optional[int] = ..., save_summaries_steps: _Optional[int] = ..., steps_per_loop: _Optional[int] = ..., loss_options: _Optional[_Union[LossOptions, _Mapping]] = ..., solver_options: _Optional[_Union[SolverOptions, _Mapping]] = ..., seed: _Optional[int] = ..., deterministic: bool = ..., compute_precision: _Optional[str] = ..., keep_optimizer: _Optional[_Union[KeptOptimizer, str]] = ..., early_stopping_evaluations: _Optional[int] = ..., async_checkpoints: bool = ..., watchdog: _Optional[_Union[WatchdogOptions, _Mapping]] = ..., compile_step: bool = ...) -> None: ...
