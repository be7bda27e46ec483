/** The body of `POST /orders`; prices are decimal strings, as in every peer. */
import { Type } from 'class-transformer';
import {
  ArrayMaxSize,
  ArrayMinSize,
  IsArray,
  IsInt,
  IsOptional,
  IsString,
  Length,
  Matches,
  Max,
  MaxLength,
  Min,
  ValidateNested,
} from 'class-validator';

export class CreateOrderLineDto {
  @IsString() @Length(1, 200) productId!: string;
  @IsString() @MaxLength(500) name!: string;
  @IsInt() @Min(1) @Max(1_000_000) quantity!: number;
  @Matches(/^\d{1,12}(\.\d{1,2})?$/) unitPrice!: string;
}

export class CreateOrderDto {
  @IsOptional() @IsString() @Length(1, 200) orderId?: string;
  @IsString() @Length(1, 200) customerId!: string;
  @IsOptional() @IsString() @Length(1, 200) visitorId?: string;
  @Matches(/^[A-Z]{3}$/) currency!: string;

  @IsArray()
  @ArrayMinSize(1)
  @ArrayMaxSize(200)
  @ValidateNested({ each: true })
  @Type(() => CreateOrderLineDto)
  lines!: CreateOrderLineDto[];
}
