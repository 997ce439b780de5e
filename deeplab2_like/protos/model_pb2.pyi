from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DecoderOptions(_message.Message):
    __slots__ = ("feature_key", "decoder_channels", "aspp_channels", "atrous_rates", "decoder_conv_type", "aspp_use_only_1x1_proj_conv")
    FEATURE_KEY_FIELD_NUMBER: _ClassVar[int]
    DECODER_CHANNELS_FIELD_NUMBER: _ClassVar[int]
    ASPP_CHANNELS_FIELD_NUMBER: _ClassVar[int]
    ATROUS_RATES_FIELD_NUMBER: _ClassVar[int]
    DECODER_CONV_TYPE_FIELD_NUMBER: _ClassVar[int]
    ASPP_USE_ONLY_1X1_PROJ_CONV_FIELD_NUMBER: _ClassVar[int]
    feature_key: str
    decoder_channels: int
    aspp_channels: int
    atrous_rates: _containers.RepeatedScalarFieldContainer[int]
    decoder_conv_type: str
    aspp_use_only_1x1_proj_conv: bool
    def __init__(self, feature_key: _Optional[str] = ..., decoder_channels: _Optional[int] = ..., aspp_channels: _Optional[int] = ..., atrous_rates: _Optional[_Iterable[int]] = ..., decoder_conv_type: _Optional[str] = ..., aspp_use_only_1x1_proj_conv: bool = ...) -> None: ...

class LowLevelOptions(_message.Message):
    __slots__ = ("feature_key", "channels_project")
    FEATURE_KEY_FIELD_NUMBER: _ClassVar[int]
    CHANNELS_PROJECT_FIELD_NUMBER: _ClassVar[int]
    feature_key: str
    channels_project: int
    def __init__(self, feature_key: _Optional[str] = ..., channels_project: _Optional[int] = ...) -> None: ...

class HeadOptions(_message.Message):
    __slots__ = ("output_channels", "head_channels", "head_conv_type", "max_value_after_activation", "min_value_after_activation")
    OUTPUT_CHANNELS_FIELD_NUMBER: _ClassVar[int]
    HEAD_CHANNELS_FIELD_NUMBER: _ClassVar[int]
    HEAD_CONV_TYPE_FIELD_NUMBER: _ClassVar[int]
    MAX_VALUE_AFTER_ACTIVATION_FIELD_NUMBER: _ClassVar[int]
    MIN_VALUE_AFTER_ACTIVATION_FIELD_NUMBER: _ClassVar[int]
    output_channels: int
    head_channels: int
    head_conv_type: str
    max_value_after_activation: float
    min_value_after_activation: float
    def __init__(self, output_channels: _Optional[int] = ..., head_channels: _Optional[int] = ..., head_conv_type: _Optional[str] = ..., max_value_after_activation: _Optional[float] = ..., min_value_after_activation: _Optional[float] = ...) -> None: ...

class InstanceOptions(_message.Message):
    __slots__ = ("enable", "low_level_override", "instance_decoder_override", "center_head", "regression_head", "next_regression_head")
    ENABLE_FIELD_NUMBER: _ClassVar[int]
    LOW_LEVEL_OVERRIDE_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_DECODER_OVERRIDE_FIELD_NUMBER: _ClassVar[int]
    CENTER_HEAD_FIELD_NUMBER: _ClassVar[int]
    REGRESSION_HEAD_FIELD_NUMBER: _ClassVar[int]
    NEXT_REGRESSION_HEAD_FIELD_NUMBER: _ClassVar[int]
    enable: bool
    low_level_override: _containers.RepeatedCompositeFieldContainer[LowLevelOptions]
    instance_decoder_override: DecoderOptions
    center_head: HeadOptions
    regression_head: HeadOptions
    next_regression_head: HeadOptions
    def __init__(self, enable: bool = ..., low_level_override: _Optional[_Iterable[_Union[LowLevelOptions, _Mapping]]] = ..., instance_decoder_override: _Optional[_Union[DecoderOptions, _Mapping]] = ..., center_head: _Optional[_Union[HeadOptions, _Mapping]] = ..., regression_head: _Optional[_Union[HeadOptions, _Mapping]] = ..., next_regression_head: _Optional[_Union[HeadOptions, _Mapping]] = ...) -> None: ...

class ModelOptions(_message.Message):
    __slots__ = ("backbone", "decoder", "deeplab_v3", "deeplab_v3_plus", "panoptic_deeplab", "motion_deeplab", "max_deeplab", "vip_deeplab", "panoptic_fpn", "efficientps", "initial_checkpoint", "restore_semantic_last_layer_from_initial_checkpoint", "restore_instance_last_layer_from_initial_checkpoint")
    class BackboneOptions(_message.Message):
        __slots__ = ("name", "output_stride", "pretrained_weights", "use_squeeze_and_excite", "drop_path_keep_prob", "drop_path_schedule", "stem_width_multiplier", "backbone_width_multiplier", "backbone_layer_multiplier", "use_sac_beyond_stride", "recompute", "activation", "padding", "graph", "freeze_backbone", "freeze_batch_norm")
        NAME_FIELD_NUMBER: _ClassVar[int]
        OUTPUT_STRIDE_FIELD_NUMBER: _ClassVar[int]
        PRETRAINED_WEIGHTS_FIELD_NUMBER: _ClassVar[int]
        USE_SQUEEZE_AND_EXCITE_FIELD_NUMBER: _ClassVar[int]
        DROP_PATH_KEEP_PROB_FIELD_NUMBER: _ClassVar[int]
        DROP_PATH_SCHEDULE_FIELD_NUMBER: _ClassVar[int]
        STEM_WIDTH_MULTIPLIER_FIELD_NUMBER: _ClassVar[int]
        BACKBONE_WIDTH_MULTIPLIER_FIELD_NUMBER: _ClassVar[int]
        BACKBONE_LAYER_MULTIPLIER_FIELD_NUMBER: _ClassVar[int]
        USE_SAC_BEYOND_STRIDE_FIELD_NUMBER: _ClassVar[int]
        RECOMPUTE_FIELD_NUMBER: _ClassVar[int]
        ACTIVATION_FIELD_NUMBER: _ClassVar[int]
        PADDING_FIELD_NUMBER: _ClassVar[int]
        GRAPH_FIELD_NUMBER: _ClassVar[int]
        FREEZE_BACKBONE_FIELD_NUMBER: _ClassVar[int]
        FREEZE_BATCH_NORM_FIELD_NUMBER: _ClassVar[int]
        name: str
        output_stride: int
        pretrained_weights: str
        use_squeeze_and_excite: bool
        drop_path_keep_prob: float
        drop_path_schedule: str
        stem_width_multiplier: float
        backbone_width_multiplier: float
        backbone_layer_multiplier: float
        use_sac_beyond_stride: int
        recompute: bool
        activation: str
        padding: str
        graph: str
        freeze_backbone: bool
        freeze_batch_norm: bool
        def __init__(self, name: _Optional[str] = ..., output_stride: _Optional[int] = ..., pretrained_weights: _Optional[str] = ..., use_squeeze_and_excite: bool = ..., drop_path_keep_prob: _Optional[float] = ..., drop_path_schedule: _Optional[str] = ..., stem_width_multiplier: _Optional[float] = ..., backbone_width_multiplier: _Optional[float] = ..., backbone_layer_multiplier: _Optional[float] = ..., use_sac_beyond_stride: _Optional[int] = ..., recompute: bool = ..., activation: _Optional[str] = ..., padding: _Optional[str] = ..., graph: _Optional[str] = ..., freeze_backbone: bool = ..., freeze_batch_norm: bool = ...) -> None: ...
    class DeeplabV3Options(_message.Message):
        __slots__ = ("num_classes",)
        NUM_CLASSES_FIELD_NUMBER: _ClassVar[int]
        num_classes: int
        def __init__(self, num_classes: _Optional[int] = ...) -> None: ...
    class DeeplabV3PlusOptions(_message.Message):
        __slots__ = ("low_level", "num_classes")
        LOW_LEVEL_FIELD_NUMBER: _ClassVar[int]
        NUM_CLASSES_FIELD_NUMBER: _ClassVar[int]
        low_level: LowLevelOptions
        num_classes: int
        def __init__(self, low_level: _Optional[_Union[LowLevelOptions, _Mapping]] = ..., num_classes: _Optional[int] = ...) -> None: ...
    class PanopticDeeplabOptions(_message.Message):
        __slots__ = ("low_level", "instance", "semantic_head", "depth_head")
        LOW_LEVEL_FIELD_NUMBER: _ClassVar[int]
        INSTANCE_FIELD_NUMBER: _ClassVar[int]
        SEMANTIC_HEAD_FIELD_NUMBER: _ClassVar[int]
        DEPTH_HEAD_FIELD_NUMBER: _ClassVar[int]
        low_level: _containers.RepeatedCompositeFieldContainer[LowLevelOptions]
        instance: InstanceOptions
        semantic_head: HeadOptions
        depth_head: HeadOptions
        def __init__(self, low_level: _Optional[_Iterable[_Union[LowLevelOptions, _Mapping]]] = ..., instance: _Optional[_Union[InstanceOptions, _Mapping]] = ..., semantic_head: _Optional[_Union[HeadOptions, _Mapping]] = ..., depth_head: _Optional[_Union[HeadOptions, _Mapping]] = ...) -> None: ...
    class PanopticFpnOptions(_message.Message):
        __slots__ = ("pyramid_channels", "semantic", "instance")
        class SemanticBranchOptions(_message.Message):
            __slots__ = ("enable", "channels", "separate_things")
            ENABLE_FIELD_NUMBER: _ClassVar[int]
            CHANNELS_FIELD_NUMBER: _ClassVar[int]
            SEPARATE_THINGS_FIELD_NUMBER: _ClassVar[int]
            enable: bool
            channels: int
            separate_things: bool
            def __init__(self, enable: bool = ..., channels: _Optional[int] = ..., separate_things: bool = ...) -> None: ...
        class InstanceBranchOptions(_message.Message):
            __slots__ = ("enable", "anchor_size", "anchor_ratio", "channels", "box_head_units", "mask_head_convolutions", "max_instances", "anchor_samples", "region_samples", "train_level_proposals", "level_proposals", "num_proposals", "detection_score_threshold", "max_detections", "merge_score_threshold", "merge_overlap_threshold", "sampling_points", "adaptive_sampling")
            ENABLE_FIELD_NUMBER: _ClassVar[int]
            ANCHOR_SIZE_FIELD_NUMBER: _ClassVar[int]
            ANCHOR_RATIO_FIELD_NUMBER: _ClassVar[int]
            CHANNELS_FIELD_NUMBER: _ClassVar[int]
            BOX_HEAD_UNITS_FIELD_NUMBER: _ClassVar[int]
            MASK_HEAD_CONVOLUTIONS_FIELD_NUMBER: _ClassVar[int]
            MAX_INSTANCES_FIELD_NUMBER: _ClassVar[int]
            ANCHOR_SAMPLES_FIELD_NUMBER: _ClassVar[int]
            REGION_SAMPLES_FIELD_NUMBER: _ClassVar[int]
            TRAIN_LEVEL_PROPOSALS_FIELD_NUMBER: _ClassVar[int]
            LEVEL_PROPOSALS_FIELD_NUMBER: _ClassVar[int]
            NUM_PROPOSALS_FIELD_NUMBER: _ClassVar[int]
            DETECTION_SCORE_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
            MAX_DETECTIONS_FIELD_NUMBER: _ClassVar[int]
            MERGE_SCORE_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
            MERGE_OVERLAP_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
            SAMPLING_POINTS_FIELD_NUMBER: _ClassVar[int]
            ADAPTIVE_SAMPLING_FIELD_NUMBER: _ClassVar[int]
            enable: bool
            anchor_size: _containers.RepeatedScalarFieldContainer[float]
            anchor_ratio: _containers.RepeatedScalarFieldContainer[float]
            channels: int
            box_head_units: int
            mask_head_convolutions: int
            max_instances: int
            anchor_samples: int
            region_samples: int
            train_level_proposals: int
            level_proposals: int
            num_proposals: int
            detection_score_threshold: float
            max_detections: int
            merge_score_threshold: float
            merge_overlap_threshold: float
            sampling_points: int
            adaptive_sampling: bool
            def __init__(self, enable: bool = ..., anchor_size: _Optional[_Iterable[float]] = ..., anchor_ratio: _Optional[_Iterable[float]] = ..., channels: _Optional[int] = ..., box_head_units: _Optional[int] = ..., mask_head_convolutions: _Optional[int] = ..., max_instances: _Optional[int] = ..., anchor_samples: _Optional[int] = ..., region_samples: _Optional[int] = ..., train_level_proposals: _Optional[int] = ..., level_proposals: _Optional[int] = ..., num_proposals: _Optional[int] = ..., detection_score_threshold: _Optional[float] = ..., max_detections: _Optional[int] = ..., merge_score_threshold: _Optional[float] = ..., merge_overlap_threshold: _Optional[float] = ..., sampling_points: _Optional[int] = ..., adaptive_sampling: bool = ...) -> None: ...
        PYRAMID_CHANNELS_FIELD_NUMBER: _ClassVar[int]
        SEMANTIC_FIELD_NUMBER: _ClassVar[int]
        INSTANCE_FIELD_NUMBER: _ClassVar[int]
        pyramid_channels: int
        semantic: ModelOptions.PanopticFpnOptions.SemanticBranchOptions
        instance: ModelOptions.PanopticFpnOptions.InstanceBranchOptions
        def __init__(self, pyramid_channels: _Optional[int] = ..., semantic: _Optional[_Union[ModelOptions.PanopticFpnOptions.SemanticBranchOptions, _Mapping]] = ..., instance: _Optional[_Union[ModelOptions.PanopticFpnOptions.InstanceBranchOptions, _Mapping]] = ...) -> None: ...
    class EfficientPsOptions(_message.Message):
        __slots__ = ("pyramid_channels", "pyramid_conv_type", "semantic", "mask_rcnn", "solov2", "mask_logit_scale")
        class ContextBranchOptions(_message.Message):
            __slots__ = ("enable", "channels")
            ENABLE_FIELD_NUMBER: _ClassVar[int]
            CHANNELS_FIELD_NUMBER: _ClassVar[int]
            enable: bool
            channels: int
            def __init__(self, enable: bool = ..., channels: _Optional[int] = ...) -> None: ...
        class GridBranchOptions(_message.Message):
            __slots__ = ("grid", "smallest_size", "largest_size", "channels", "convolutions", "mask_channels", "mask_branch_channels", "max_instances", "max_masks", "cell_score_threshold", "candidates", "decay", "detection_score_threshold", "max_detections", "merge_score_threshold", "merge_overlap_threshold", "smallest_mask")
            GRID_FIELD_NUMBER: _ClassVar[int]
            SMALLEST_SIZE_FIELD_NUMBER: _ClassVar[int]
            LARGEST_SIZE_FIELD_NUMBER: _ClassVar[int]
            CHANNELS_FIELD_NUMBER: _ClassVar[int]
            CONVOLUTIONS_FIELD_NUMBER: _ClassVar[int]
            MASK_CHANNELS_FIELD_NUMBER: _ClassVar[int]
            MASK_BRANCH_CHANNELS_FIELD_NUMBER: _ClassVar[int]
            MAX_INSTANCES_FIELD_NUMBER: _ClassVar[int]
            MAX_MASKS_FIELD_NUMBER: _ClassVar[int]
            CELL_SCORE_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
            CANDIDATES_FIELD_NUMBER: _ClassVar[int]
            DECAY_FIELD_NUMBER: _ClassVar[int]
            DETECTION_SCORE_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
            MAX_DETECTIONS_FIELD_NUMBER: _ClassVar[int]
            MERGE_SCORE_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
            MERGE_OVERLAP_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
            SMALLEST_MASK_FIELD_NUMBER: _ClassVar[int]
            grid: _containers.RepeatedScalarFieldContainer[int]
            smallest_size: _containers.RepeatedScalarFieldContainer[float]
            largest_size: _containers.RepeatedScalarFieldContainer[float]
            channels: int
            convolutions: int
            mask_channels: int
            mask_branch_channels: int
            max_instances: int
            max_masks: int
            cell_score_threshold: float
            candidates: int
            decay: str
            detection_score_threshold: float
            max_detections: int
            merge_score_threshold: float
            merge_overlap_threshold: float
            smallest_mask: _containers.RepeatedScalarFieldContainer[int]
            def __init__(self, grid: _Optional[_Iterable[int]] = ..., smallest_size: _Optional[_Iterable[float]] = ..., largest_size: _Optional[_Iterable[float]] = ..., channels: _Optional[int] = ..., convolutions: _Optional[int] = ..., mask_channels: _Optional[int] = ..., mask_branch_channels: _Optional[int] = ..., max_instances: _Optional[int] = ..., max_masks: _Optional[int] = ..., cell_score_threshold: _Optional[float] = ..., candidates: _Optional[int] = ..., decay: _Optional[str] = ..., detection_score_threshold: _Optional[float] = ..., max_detections: _Optional[int] = ..., merge_score_threshold: _Optional[float] = ..., merge_overlap_threshold: _Optional[float] = ..., smallest_mask: _Optional[_Iterable[int]] = ...) -> None: ...
        PYRAMID_CHANNELS_FIELD_NUMBER: _ClassVar[int]
        PYRAMID_CONV_TYPE_FIELD_NUMBER: _ClassVar[int]
        SEMANTIC_FIELD_NUMBER: _ClassVar[int]
        MASK_RCNN_FIELD_NUMBER: _ClassVar[int]
        SOLOV2_FIELD_NUMBER: _ClassVar[int]
        MASK_LOGIT_SCALE_FIELD_NUMBER: _ClassVar[int]
        pyramid_channels: int
        pyramid_conv_type: str
        semantic: ModelOptions.EfficientPsOptions.ContextBranchOptions
        mask_rcnn: ModelOptions.PanopticFpnOptions.InstanceBranchOptions
        solov2: ModelOptions.EfficientPsOptions.GridBranchOptions
        mask_logit_scale: float
        def __init__(self, pyramid_channels: _Optional[int] = ..., pyramid_conv_type: _Optional[str] = ..., semantic: _Optional[_Union[ModelOptions.EfficientPsOptions.ContextBranchOptions, _Mapping]] = ..., mask_rcnn: _Optional[_Union[ModelOptions.PanopticFpnOptions.InstanceBranchOptions, _Mapping]] = ..., solov2: _Optional[_Union[ModelOptions.EfficientPsOptions.GridBranchOptions, _Mapping]] = ..., mask_logit_scale: _Optional[float] = ...) -> None: ...
    class MotionDeepLabOptions(_message.Message):
        __slots__ = ("low_level", "instance", "semantic_head", "motion_head")
        LOW_LEVEL_FIELD_NUMBER: _ClassVar[int]
        INSTANCE_FIELD_NUMBER: _ClassVar[int]
        SEMANTIC_HEAD_FIELD_NUMBER: _ClassVar[int]
        MOTION_HEAD_FIELD_NUMBER: _ClassVar[int]
        low_level: _containers.RepeatedCompositeFieldContainer[LowLevelOptions]
        instance: InstanceOptions
        semantic_head: HeadOptions
        motion_head: HeadOptions
        def __init__(self, low_level: _Optional[_Iterable[_Union[LowLevelOptions, _Mapping]]] = ..., instance: _Optional[_Union[InstanceOptions, _Mapping]] = ..., semantic_head: _Optional[_Union[HeadOptions, _Mapping]] = ..., motion_head: _Optional[_Union[HeadOptions, _Mapping]] = ...) -> None: ...
    class MaXDeepLabOptions(_message.Message):
        __slots__ = ("pixel_space_head", "auxiliary_low_level", "auxiliary_semantic_head", "instance_discrimination_sample_k", "instance_discrimination_sample_temperature", "semantic_sample_k", "semantic_sample_temperature")
        PIXEL_SPACE_HEAD_FIELD_NUMBER: _ClassVar[int]
        AUXILIARY_LOW_LEVEL_FIELD_NUMBER: _ClassVar[int]
        AUXILIARY_SEMANTIC_HEAD_FIELD_NUMBER: _ClassVar[int]
        INSTANCE_DISCRIMINATION_SAMPLE_K_FIELD_NUMBER: _ClassVar[int]
        INSTANCE_DISCRIMINATION_SAMPLE_TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
        SEMANTIC_SAMPLE_K_FIELD_NUMBER: _ClassVar[int]
        SEMANTIC_SAMPLE_TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
        pixel_space_head: HeadOptions
        auxiliary_low_level: _containers.RepeatedCompositeFieldContainer[LowLevelOptions]
        auxiliary_semantic_head: HeadOptions
        instance_discrimination_sample_k: int
        instance_discrimination_sample_temperature: float
        semantic_sample_k: int
        semantic_sample_temperature: float
        def __init__(self, pixel_space_head: _Optional[_Union[HeadOptions, _Mapping]] = ..., auxiliary_low_level: _Optional[_Iterable[_Union[LowLevelOptions, _Mapping]]] = ..., auxiliary_semantic_head: _Optional[_Union[HeadOptions, _Mapping]] = ..., instance_discrimination_sample_k: _Optional[int] = ..., instance_discrimination_sample_temperature: _Optional[float] = ..., semantic_sample_k: _Optional[int] = ..., semantic_sample_temperature: _Optional[float] = ...) -> None: ...
    BACKBONE_FIELD_NUMBER: _ClassVar[int]
    DECODER_FIELD_NUMBER: _ClassVar[int]
    DEEPLAB_V3_FIELD_NUMBER: _ClassVar[int]
    DEEPLAB_V3_PLUS_FIELD_NUMBER: _ClassVar[int]
    PANOPTIC_DEEPLAB_FIELD_NUMBER: _ClassVar[int]
    MOTION_DEEPLAB_FIELD_NUMBER: _ClassVar[int]
    MAX_DEEPLAB_FIELD_NUMBER: _ClassVar[int]
    VIP_DEEPLAB_FIELD_NUMBER: _ClassVar[int]
    PANOPTIC_FPN_FIELD_NUMBER: _ClassVar[int]
    EFFICIENTPS_FIELD_NUMBER: _ClassVar[int]
    INITIAL_CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    RESTORE_SEMANTIC_LAST_LAYER_FROM_INITIAL_CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    RESTORE_INSTANCE_LAST_LAYER_FROM_INITIAL_CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    backbone: ModelOptions.BackboneOptions
    decoder: DecoderOptions
    deeplab_v3: ModelOptions.DeeplabV3Options
    deeplab_v3_plus: ModelOptions.DeeplabV3PlusOptions
    panoptic_deeplab: ModelOptions.PanopticDeeplabOptions
    motion_deeplab: ModelOptions.MotionDeepLabOptions
    max_deeplab: ModelOptions.MaXDeepLabOptions
    vip_deeplab: ModelOptions.PanopticDeeplabOptions
    panoptic_fpn: ModelOptions.PanopticFpnOptions
    efficientps: ModelOptions.EfficientPsOptions
    initial_checkpoint: str
    restore_semantic_last_layer_from_initial_checkpoint: bool
    restore_instance_last_layer_from_initial_checkpoint: bool
    def __init__(self, backbone: _Optional[_Union[ModelOptions.BackboneOptions, _Mapping]] = ..., decoder: _Optional[_Union[DecoderOptions, _Mapping]] = ..., deeplab_v3: _Optional[_Union[ModelOptions.DeeplabV3Options, _Mapping]] = ..., deeplab_v3_plus: _Optional[_Union[ModelOptions.DeeplabV3PlusOptions, _Mapping]] = ..., panoptic_deeplab: _Optional[_Union[ModelOptions.PanopticDeeplabOptions, _Mapping]] = ..., motion_deeplab: _Optional[_Union[ModelOptions.MotionDeepLabOptions, _Mapping]] = ..., max_deeplab: _Optional[_Union[ModelOptions.MaXDeepLabOptions, _Mapping]] = ..., vip_deeplab: _Optional[_Union[ModelOptions.PanopticDeeplabOptions, _Mapping]] = ..., panoptic_fpn: _Optional[_Union[ModelOptions.PanopticFpnOptions, _Mapping]] = ..., efficientps: _Optional[_Union[ModelOptions.EfficientPsOptions, _Mapping]] = ..., initial_checkpoint: _Optional[str] = ..., restore_semantic_last_layer_from_initial_checkpoint: bool = ..., restore_instance_last_layer_from_initial_checkpoint: bool = ...) -> None: ...
